"""Models for Triton: the configuration is valid, fits the graph, and appears complete or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.fakes.bundle import make_model, write_bundle
from tests.triton_config import read_config
from wavepaint.contract import Artifact, Bundle, Precision
from wavepaint.errors import BundleError, ConfigError, OutputError
from wavepaint.export.triton_repository import Backend, TritonModel, TritonRequest, write_triton_model
from wavepaint.runtime.engines.ort import OrtSession

PROFILE = {"min": [1, 64, 64], "opt": [1, 320, 448], "max": [4, 1024, 1024]}


def write(
    bundle: Bundle,
    repository: Path,
    backend: Backend = "onnxruntime",
    precisions: tuple[Precision, ...] = (),
    **options: Any,
) -> TritonModel:
    request = TritonRequest(repository=repository, name="convolution", backend=backend, precisions=precisions)
    return write_triton_model(bundle, request, **options)


def add_plans(bundle: Bundle, folder: Path, *plans: dict[str, Any]) -> Bundle:
    """Return a copy of a bundle with a float16 plan for each dictionary of details."""
    shutil.copytree(bundle.folder, folder)
    added = []
    for index, details in enumerate(plans):
        (folder / f"{index}.plan").write_bytes(b"plan %d" % index)
        shared = {"profiles": [PROFILE], "compute_capabilities": ["sm86"]}
        added.append(
            Artifact(
                path=f"{index}.plan", kind="tensorrt", precision="float16", io_dtype="uint8", details=shared | details
            )
        )
    return Bundle(folder, replace(bundle.manifest, artifacts=[*bundle.manifest.artifacts, *added]))


def test_tensors_of_the_configuration_are_those_of_the_graph(full_bundle: Bundle, tmp_path: Path) -> None:
    model = write(full_bundle, tmp_path)
    config = read_config(model.folder / "config.pbtxt")
    graph = onnx.load(model.folder / "1" / config.default_model_filename).graph
    for declared, real in ((config.input, graph.input), (config.output, graph.output)):
        assert [tensor.name for tensor in declared] == [value.name for value in real]
        for tensor, value in zip(declared, real, strict=True):
            batch, *shape = value.type.tensor_type.shape.dim
            assert batch.dim_param == "N"  # Triton adds this dimension, because max_batch_size is not zero
            assert list(tensor.dims) == [dimension.dim_value or -1 for dimension in shape]
            assert value.type.tensor_type.elem_type == TensorProto.UINT8
            assert tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values[tensor.data_type].name == "TYPE_UINT8"


def test_requests_are_batched_and_a_full_queue_refuses(full_bundle: Bundle, tmp_path: Path) -> None:
    config = read_config(write(full_bundle, tmp_path).folder / "config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == ("convolution", "onnxruntime", 8)
    policy = config.dynamic_batching.default_queue_policy
    assert policy.max_queue_size == 64
    assert policy.timeout_action == policy.TimeoutAction.Value("REJECT")
    assert policy.default_timeout_microseconds == 30_000_000
    (group,) = config.instance_group
    assert (group.count, group.kind) == (1, group.Kind.Value("KIND_AUTO"))


def test_the_model_runs_its_warm_up(full_bundle: Bundle, tmp_path: Path) -> None:
    model = write(full_bundle, tmp_path)
    (sample,) = read_config(model.folder / "config.pbtxt").model_warmup
    arrays = {name: np.zeros((sample.batch_size, *entry.dims), np.uint8) for name, entry in sample.inputs.items()}
    assert all(entry.random_data for entry in sample.inputs.values())
    with OrtSession(make_model(model.folder / "1" / "model.onnx", io_dtype="uint8")) as session:
        assert session.run(arrays["image"], arrays["mask"]).shape == arrays["image"].shape


@pytest.mark.parametrize(
    ("precisions", "name"),
    [
        ((), "model.uint8.onnx"),
        (("float16",), "model.fp16.uint8.onnx"),
        (("float16", "bfloat16"), "model.fp16.uint8.onnx"),
    ],
)
def test_the_precision_is_the_one_asked_for(
    full_bundle: Bundle, tmp_path: Path, precisions: tuple[Precision, ...], name: str
) -> None:
    model = write(full_bundle, tmp_path, precisions=precisions)
    assert [artifact.path for artifact in model.artifacts] == [name]
    assert (model.folder / "1" / "model.onnx").read_bytes() == (full_bundle.folder / name).read_bytes()


def test_plans_are_listed_by_the_gpus_they_are_for(full_bundle: Bundle, tmp_path: Path) -> None:
    wide = {"min": [1, 64, 64], "opt": [1, 64, 64], "max": [2, 2048, 2048]}
    profiles = [PROFILE, wide]
    bundle = add_plans(
        full_bundle,
        tmp_path / "plans",
        {"profiles": profiles},
        {"profiles": profiles, "compute_capabilities": ["sm120"]},
    )
    model = write(bundle, tmp_path, "tensorrt")
    config = read_config(model.folder / "config.pbtxt")
    assert config.backend == "tensorrt"
    assert dict(config.cc_model_filenames) == {"8.6": "sm86.plan", "12.0": "sm120.plan"}
    contents = [(model.folder / "1" / name).read_bytes() for name in config.cc_model_filenames.values()]
    assert sorted(contents) == [b"plan 0", b"plan 1"]
    assert config.max_batch_size == 2
    assert list(config.instance_group[0].profile) == ["0", "1"]
    assert list(config.model_warmup[0].inputs["image"].dims) == [320, 448, 3]


def test_batches_never_exceed_eight(full_bundle: Bundle, tmp_path: Path) -> None:
    large = {**PROFILE, "max": [64, 1024, 1024]}
    bundle = add_plans(full_bundle, tmp_path / "plans", {"profiles": [large]})
    assert write(bundle, tmp_path, "tensorrt").max_batch_size == 8


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"profiles": [{**PROFILE, "min": [2, 64, 64], "opt": [2, 64, 64]}]}, "takes 2 images or more.*--batches"),
        ({"profiles": []}, "names no GPU generation or no sizes"),
        ({"compute_capabilities": []}, "names no GPU generation or no sizes"),
        ({"compute_capabilities": ["../../sm86"]}, "names no GPU generation or no sizes"),
        ({"compute_capabilities": ['sm86" value: "x']}, "names no GPU generation or no sizes"),
    ],
)
def test_plans_that_triton_cannot_serve_are_refused(
    full_bundle: Bundle, tmp_path: Path, details: dict[str, Any], message: str
) -> None:
    bundle = add_plans(full_bundle, tmp_path / "plans", details)
    with pytest.raises(BundleError, match=message):
        write(bundle, tmp_path / "models", "tensorrt")
    assert not (tmp_path / "models").exists()


def test_a_bundle_without_a_suitable_model_is_answered_with_the_command_that_makes_one(
    full_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    with pytest.raises(BundleError, match="no ONNX model with bytes.*wp export convolution.pt .*--io uint8"):
        write(bundle, tmp_path / "models")
    with pytest.raises(BundleError, match="no TensorRT plan with bytes.*-o NEW --engine tensorrt --triton"):
        write(full_bundle, tmp_path / "models", "tensorrt")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-v", "a b", 'a"', "ä", "a\n", "x" * 101])
def test_names_that_clients_could_not_send_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot name a Triton model.*--name"):
        TritonRequest(repository=Path(), name=name)


def test_precisions_that_the_back_end_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="computes no bfloat16"):
        TritonRequest(repository=Path(), name="a", precisions=("bfloat16",))
    assert TritonRequest(repository=Path(), name="a", backend="tensorrt", precisions=("bfloat16",)).candidates


def test_an_existing_model_is_replaced_only_on_request_and_its_neighbours_stay(
    full_bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    folder = write(full_bundle, tmp_path).folder
    (folder / "1" / "old").touch()
    with pytest.raises(OutputError, match="exists already"):
        write(full_bundle, tmp_path)
    write(full_bundle, tmp_path, overwrite=True)
    assert not (folder / "1" / "old").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"convolution", "other"}


def test_a_failed_copy_leaves_nothing(full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(OutputError, match="No space left"):
        write(full_bundle, tmp_path)
    assert not list(tmp_path.iterdir())
