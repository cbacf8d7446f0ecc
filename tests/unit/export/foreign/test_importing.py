"""Networks of other projects: parity with the untouched file, half precision, and what is converted."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.fakes import foreign as networks
from tests.fakes.foreign import LATENT, SIDE, WRITERS, change_model
from wavepaint.contract import Bundle, read_bundle
from wavepaint.errors import ForeignModelError, VerificationError
from wavepaint.export import verify
from wavepaint.export.foreign import half_precision
from wavepaint.export.foreign.description import PRESETS, make_description
from wavepaint.export.foreign.importing import ImportOptions, import_network, make_source_suite
from wavepaint.export.foreign.inspection import read_foreign
from wavepaint.runtime.engines.comparison import BYTE_BUDGET, HALF_BUDGET, choose_budget
from wavepaint.runtime.engines.registry import find_engine, open_session

Image = np.ndarray


def run_plainly(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, inputs)
    return np.asarray(result)


def fill_lama(path: Path, image: Image, mask: Image) -> Image:
    return run_plainly(path, {"image": image, "mask": mask}) / np.float32(255)


def fill_lama_4_channels(path: Path, image: Image, mask: Image) -> Image:
    return run_plainly(path, {"input": np.concatenate([image * (1 - mask), mask], axis=1)})


def fill_migan(path: Path, image: Image, mask: Image) -> Image:
    levels = np.round(image * 255).astype(np.uint8)
    known = (255 - mask * 255).astype(np.uint8)
    filled = [run_plainly(path, {"image": levels[n : n + 1], "mask": known[n : n + 1]}) for n in range(len(image))]
    return np.concatenate(filled) / np.float32(255)


def fill_migan_generator(path: Path, image: Image, mask: Image) -> Image:
    scaled = (image * 2 - 1) * (1 - mask)
    return (run_plainly(path, {"input": np.concatenate([0.5 - mask, scaled], axis=1)}) + 1) / 2


def fill_comodgan(path: Path, image: Image, mask: Image) -> Image:
    z = np.random.default_rng(0).standard_normal((1, LATENT)).astype(np.float32)
    inputs = {"image": image * 2 - 1, "mask": 1 - mask, "z": np.repeat(z, len(image), axis=0)}
    return (run_plainly(path, inputs) + 1) / 2


FILLS: dict[str, Callable[[Path, Image, Image], Image]] = {
    "lama": fill_lama,
    "lama-4-channels": fill_lama_4_channels,
    "migan": fill_migan,
    "migan-generator": fill_migan_generator,
    "comodgan": fill_comodgan,
}
"""How a program for each file calls it: image and mask in [0, 1], 1 = hole -> prediction in [0, 1]."""


def import_preset(folder: Path, preset: str, **options: Any) -> tuple[Path, Bundle]:
    path = WRITERS[preset](folder / f"{preset}.onnx")
    return path, import_network(read_foreign(path), PRESETS[preset], folder / preset, **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_an_imported_network_equals_its_file_in_plain_onnxruntime(tmp_path: Path, only_ort: None, preset: str) -> None:
    path, bundle = import_preset(tmp_path, preset)
    assert read_bundle(bundle.folder).manifest.to_json() == bundle.manifest.to_json()
    random = np.random.default_rng(1)
    side = SIDE if preset != "lama-4-channels" else 2 * SIDE
    image = random.random((1, 3, side, side), dtype=np.float32)
    if preset == "migan":  # bytes go in
        image = np.round(image * 255) / np.float32(255)
    mask = (random.random((1, 1, side, side)) < 0.3).astype(np.float32)
    with open_session(bundle, engine="ort-cpu", precision="float32") as session:
        filled = session.run(image, mask)
    expected = np.where(mask > 0, np.clip(FILLS[preset](path, image, mask), 0, 1), image)
    assert np.abs(filled - expected).max() <= 1e-6
    known = np.broadcast_to(mask == 0, image.shape)
    assert np.array_equal(filled[known], image[known])
    (report,) = bundle.manifest.verification["model.onnx"]
    assert report["max_error"] == 0
    assert report["reference"].startswith(f"the imported {preset}.onnx in ONNX Runtime")


def test_half_precision_and_bytes_are_verified_in_every_engine(tmp_path: Path) -> None:
    options = ImportOptions(fp16=True, io_dtypes=("uint8",))
    _, bundle = import_preset(tmp_path, "comodgan", options=options)
    names = ["model.onnx", "model.uint8.onnx", "model.fp16.onnx", "model.fp16.uint8.onnx"]
    assert [artifact.path for artifact in bundle.manifest.artifacts] == names
    for name in names:
        reports = bundle.manifest.verification[name]
        assert {find_engine(report) for report in reports} >= {"ort-cpu", "openvino"}
        assert all(report["passed"] and report["known_identical"] for report in reports)
    weights = onnx.load(bundle.folder / "model.fp16.onnx").graph.initializer
    assert any(tensor.data_type == TensorProto.FLOAT16 and "network/" in tensor.name for tensor in weights)


def test_a_network_that_rounds_may_differ_by_one_level_between_engines(tmp_path: Path, only_ort: None) -> None:
    _, bundle = import_preset(tmp_path, "migan")
    (artifact,) = bundle.manifest.artifacts
    assert choose_budget(artifact, "float32") == BYTE_BUDGET
    assert choose_budget(artifact, "bfloat16") == HALF_BUDGET
    assert bundle.manifest.verification["model.onnx"][0]["budget"]["max_error"] == BYTE_BUDGET.max_error


def test_a_network_that_overflows_in_half_precision_keeps_that_part_in_float32(tmp_path: Path, only_ort: None) -> None:
    def enlarge(model: onnx.ModelProto) -> None:
        """Let the convolution's output exceed float16's range, and divide it again."""
        nodes, constants = model.graph.node, model.graph.initializer
        for name, value in (("large", 1e6), ("small", 1e-6)):
            constants.append(numpy_helper.from_array(np.float32(value), name))
        added = [
            helper.make_node("Mul", [nodes[0].output[0], "large"], ["enlarged"]),
            helper.make_node("Mul", ["enlarged", "small"], ["restored"]),
        ]
        nodes[1].input[0] = "restored"
        rest = [nodes[0], *added, nodes[1]]
        del nodes[:]
        nodes.extend(rest)

    path = change_model(networks.write_lama_4_channels(tmp_path / "net.onnx"), enlarge)
    bundle = import_network(
        read_foreign(path), PRESETS["lama-4-channels"], tmp_path / "bundle", options=ImportOptions(fp16=True)
    )
    kept = bundle.find_artifact("onnx", "float16").details["kept_float32"]
    assert any("Mul" in stretch for stretch in kept)
    assert not any("Sigmoid" in stretch for stretch in kept)


def test_a_network_that_half_precision_cannot_compute_is_refused(
    tmp_path: Path, only_ort: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_precision, "_reaches_budget", lambda *arguments: False)
    with pytest.raises(VerificationError, match=r"below 50 dB. Leave out --fp16"):
        import_preset(tmp_path, "lama-4-channels", options=ImportOptions(fp16=True))
    assert not (tmp_path / "lama-4-channels").exists()


def test_the_source_of_a_bundle_is_run_again_with_its_description(tmp_path: Path, only_ort: None) -> None:
    path, bundle = import_preset(tmp_path, "comodgan")
    reports = verify.verify_bundle(bundle, make_source_suite(bundle, path))
    assert reports["model.onnx"][0]["max_error"] == 0
    kept = verify.merge_reports(
        bundle.manifest.verification["model.onnx"], verify.verify_bundle(bundle)["model.onnx"], "0" * 64
    )
    assert all(report["reference"].startswith("the imported") for report in kept)
    with pytest.raises(ForeignModelError, match="is not the source of"):
        make_source_suite(bundle, networks.write_lama(tmp_path / "other.onnx"))


def test_weights_beside_the_file_go_into_the_bundle(tmp_path: Path, only_ort: None) -> None:
    path = networks.write_lama(tmp_path / "lama.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="lama.data", size_threshold=0)
    bundle = import_network(read_foreign(path), PRESETS["lama"], tmp_path / "bundle")
    assert read_bundle(bundle.folder).manifest.verification["model.onnx"][0]["passed"]


def test_other_axes_colours_and_types_are_converted(tmp_path: Path, only_ort: None) -> None:
    def change(model: onnx.ModelProto) -> None:
        """Take and return BGR bytes with channels last, around the network."""
        graph = model.graph
        names = {"image": 3, "mask": 1, "output": 3}
        for node, names_of in itertools.product(graph.node, ("input", "output")):
            for index, name in enumerate(getattr(node, names_of)):
                if name in names:
                    getattr(node, names_of)[index] = f"inner_{name}"
        graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "swap"))
        graph.initializer.append(numpy_helper.from_array(np.float32(255), "peak"))
        before = [
            helper.make_node("Cast", ["image"], ["image_levels"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["image_levels", "peak"], ["image_values"]),
            helper.make_node("Gather", ["image_values", "swap"], ["image_rgb"], axis=3),
            helper.make_node("Transpose", ["image_rgb"], ["inner_image"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["mask"], ["mask_values"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["mask_values"], ["inner_mask"], perm=[0, 3, 1, 2]),
        ]
        after = [
            helper.make_node("Transpose", ["inner_output"], ["output_last"], perm=[0, 2, 3, 1]),
            helper.make_node("Gather", ["output_last", "swap"], ["output_bgr"], axis=3),
            helper.make_node("Cast", ["output_bgr"], ["output"], to=TensorProto.FLOAT16),
        ]
        nodes = [*before, *graph.node, *after]
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(nodes)
        for name, kind, values in (
            ("image", TensorProto.UINT8, graph.input),
            ("mask", TensorProto.BOOL, graph.input),
            ("output", TensorProto.FLOAT16, graph.output),
        ):
            values.append(helper.make_tensor_value_info(name, kind, [1, SIDE, SIDE, names[name]]))

    path = change_model(networks.write_lama(tmp_path / "net.onnx", peak=1), change)
    fields = {"layout": "NHWC", "colour": "BGR", "image_range": (0, 255), "result_range": (0, 1)}
    bundle = import_network(read_foreign(path), make_description("lama", fields), tmp_path / "bundle")
    (report,) = bundle.manifest.verification["model.onnx"]
    assert report["max_error"] == 0


def test_a_file_of_an_old_version_that_lists_its_constants_as_inputs_is_imported(
    tmp_path: Path, only_ort: None
) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.ir_version = 3
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))

    path = change_model(networks.write_migan_generator(tmp_path / "net.onnx", opset=11), change)
    foreign = read_foreign(path)
    assert [tensor.name for tensor in foreign.inputs] == ["input"]
    bundle = import_network(foreign, PRESETS["migan-generator"], tmp_path / "bundle")
    assert bundle.manifest.verification["model.onnx"][0]["max_error"] == 0


def test_a_wrong_shape_of_an_output_does_no_harm(tmp_path: Path, only_ort: None) -> None:
    def change(model: onnx.ModelProto) -> None:
        """Declare the sizes of the trace, as PyTorch's former exporter does for a name that it does not know."""
        for dim, side in zip(model.graph.output[0].type.tensor_type.shape.dim, (1, 3, 256, 256), strict=True):
            dim.dim_value = side

    path = change_model(networks.write_lama_4_channels(tmp_path / "net.onnx"), change)
    bundle = import_network(read_foreign(path), PRESETS["lama-4-channels"], tmp_path / "bundle")
    assert bundle.manifest.verification["model.onnx"][0]["max_error"] == 0


def test_functions_of_the_file_are_inlined(tmp_path: Path, only_ort: None) -> None:
    def change(model: onnx.ModelProto) -> None:
        body = [helper.make_node("Sigmoid", ["x"], ["y"])]
        opsets = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", "Gate", ["x"], ["y"], body, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.graph.node[1].op_type, model.graph.node[1].domain = "Gate", "own"

    path = change_model(networks.write_lama_4_channels(tmp_path / "net.onnx"), change)
    bundle = import_network(read_foreign(path), PRESETS["lama-4-channels"], tmp_path / "bundle")
    assert bundle.manifest.verification["model.onnx"][0]["max_error"] == 0
