"""LaMa and the custom CNN as bundles: every engine, every precision, both I/O dtypes."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.conftest import randomise
from wavepaint.contract import Artifact, Bundle, Model
from wavepaint.export.bundle import ExportOptions, write_bundle
from wavepaint.export.cases import verification_cases
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.precision import to_half
from wavepaint.export.to_onnx import export_onnx
from wavepaint.models.registry import HyperParameters, build_model, get_architecture
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import open_session
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.libraries import get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.weights.checkpoint import read_checkpoint

LAMA: HyperParameters = {"num_blocks": 1, "base_channels": 4, "global_channels": 24}
SIZES = [(1, 8, 8), (1, 8, 40), (2, 40, 24), (1, 88, 56), (1, 136, 264), (3, 64, 64)]
"""Batch, height and width: features of one row, odd and even, square and not."""


def settled(model: torch.nn.Module) -> torch.nn.Module:
    """Give BatchNorms the statistics of what passes them, so that values stay near 1 as in a trained network."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 64, 96), (torch.rand(4, 1, 64, 96) > 0.6).float())
    return model.eval()


def export(parameters: HyperParameters, out: Path) -> Bundle:
    """Export a released checkpoint: names of the generator, beside others."""
    state = settled(randomise(build_model("lama", parameters))).state_dict()
    path = out.with_suffix(".ckpt")
    torch.save({"state_dict": {f"generator.{name}": tensor for name, tensor in state.items()}}, path)
    options = ExportOptions(precisions=("float16",), io_dtypes=("uint8",))
    return write_bundle(read_checkpoint(path), out, options=options)


@pytest.fixture(scope="module")
def lama_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(LAMA, tmp_path_factory.mktemp("lama") / "bundle")


def operators(bundle: Bundle, name: str) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(bundle.folder / name).graph.node)


def test_the_bundle_is_verified_in_every_form(lama_bundle: Bundle) -> None:
    manifest = lama_bundle.manifest
    assert (manifest.architecture, manifest.size_multiple) == ("lama", 8)
    assert manifest.hyper_parameters == {**LAMA, "num_downsampling": 3, "spectral_l2g": False}
    forms = [(artifact.precision, artifact.io_dtype) for artifact in manifest.artifacts]
    assert forms == [(p, e) for p in ("float32", "float16") for e in ("float32", "uint8")]
    for path, reports in manifest.verification.items():
        engines = {report["engine"].split()[0] for report in reports if report["passed"]}
        assert engines >= {"ONNX", "OpenVINO"}, path
    half = manifest.artifacts[2].details
    assert half["kept_float32"] == []
    assert half["pytorch_min_psnr_hole_db"] >= 50
    assert min(report["min_psnr_hole_db"] for report in manifest.verification["model.fp16.onnx"]) >= 50


@pytest.mark.parametrize("name", ["model.onnx", "model.fp16.uint8.onnx"])
def test_the_transform_is_a_few_matrix_products_whose_matrices_are_shared(lama_bundle: Bundle, name: str) -> None:
    found = operators(lama_bundle, name)
    assert not found.keys() & {"DFT", "STFT", "If", "Loop", "Scan", "ScatterND", "BatchNormalization"}
    num_units = 2 * LAMA["num_blocks"]
    assert found["MatMul"] == 4 * num_units
    assert found["Cos"] == found["Sin"] == 2  # of the height and of the width, for all layers
    if "ConvTranspose" in found:  # the upsampling in phases pads as well
        # The image, the stem, three stages and the last layer; then local and global maps, each padded once for two
        # convolutions.
        assert found["Pad"] == 6 + 2 * num_units


@pytest.mark.parametrize("engine", ["ort-cpu", "openvino"])
def test_engines_equal_the_fft_at_every_size(lama_bundle: Bundle, engine: str, tmp_path: Path) -> None:
    model = settled(randomise(build_model("lama", LAMA)))
    model.load_state_dict(read_checkpoint(lama_bundle.folder.with_suffix(".ckpt")).state)
    rng = np.random.default_rng(5)
    with open_session(lama_bundle, engine=engine, precision="float32") as session:
        for batch, height, width in SIZES:
            image = rng.random((batch, 3, height, width), dtype=np.float32)
            mask = (rng.random((batch, 1, height, width)) < 0.5).astype(np.float32)
            with torch.inference_mode():
                expected = model(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
            found = session.run(image, mask)
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
            known = np.broadcast_to(mask == 0, image.shape)
            assert np.array_equal(found[known], image[known])


@pytest.mark.parametrize("name", ["model.onnx", "model.fp16.onnx", "model.fp16.uint8.onnx"])
def test_tensorrt_rtx_builds_it_ahead_of_time(lama_bundle: Bundle, name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")
    (artifact,) = [artifact for artifact in lama_bundle.manifest.artifacts if artifact.path == name]
    options = PlanOptions(profiles=(Profile(min=(1, 8, 8), opt=(1, 256, 256), max=(2, 1024, 1024)),), targets=("sm86",))
    plan = tmp_path / "lama.plan"
    details = build_plan(lama_bundle.get_model(artifact), plan, get_library("tensorrt-rtx"), options)
    assert details["ahead_of_time"]
    assert plan.stat().st_size > 0


def test_a_transform_that_overflows_is_kept_in_float32() -> None:
    """The constant part of the spectrum is the largest: a map of 3000 everywhere sums to more than float16 holds."""
    network = fuse(settled(randomise(build_model("lama", LAMA))))
    unit = network.get_submodule("model.5.conv1.ffc.convg2g")
    with torch.no_grad():
        unit.get_submodule("conv1.0").bias.add_(3000)
        unit.get_submodule("fu.conv_layer").weight.mul_(1e-4)
        unit.get_submodule("conv2").weight.mul_(1e-4)
    result = to_half(network, verification_cases(8))
    # The constant part is written by the transform and read by the convolution of the coefficients.
    assert result.kept_float32 == [f"model.5.conv1.ffc.convg2g.fu.{name}" for name in ("dft", "conv_layer")]
    assert result.min_psnr_hole_db >= 50


@pytest.mark.parametrize(
    ("name", "parameters", "fusion"),
    [("lama", {**LAMA, "spectral_l2g": True}, False), ("unet", {"base_channels": 4}, True)],
    ids=["spectral, as it is", "unet, fused"],
)
def test_the_other_baselines_are_exported_and_verified(
    name: str, parameters: HyperParameters, fusion: bool, tmp_path: Path
) -> None:
    torch.save(settled(randomise(build_model(name, parameters))).state_dict(), tmp_path / "w.pt")
    bundle = write_bundle(read_checkpoint(tmp_path / "w.pt"), tmp_path / "out", options=ExportOptions(fusion=fusion))
    assert bundle.manifest.architecture == name
    reports = bundle.manifest.verification["model.onnx"]
    assert {report["engine"].split()[0] for report in reports if report["passed"]} == {"ONNX", "OpenVINO"}
    found = operators(bundle, "model.onnx")
    assert not found.keys() & {"DFT", "STFT"}
    assert ("BatchNormalization" in found) is (name == "lama" and not fusion)


def test_a_network_of_one_size_is_exported_at_that_size_for_any_batch(tmp_path: Path) -> None:
    parameters = {"resolution": 8, "base_channels": 4, "max_channels": 8}
    network = build_model("comodgan", parameters).eval()
    limits = get_architecture("comodgan").find_limits(parameters)
    export_onnx(network, 1, tmp_path / "model.onnx", limits=limits)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == ["N", 3, 8, 8]
    assert not {node.op_type for node in graph.node} & {"If", "Loop", "Shape", "Expand", "RandomNormal"}
    image, mask = torch.rand(4, 3, 8, 8), (torch.rand(4, 1, 8, 8) > 0.5).float()
    artifact = Artifact(path="model.onnx", kind="onnx", precision="float32")
    with OrtSession(Model(tmp_path / "model.onnx", artifact, sizes=limits)) as session, torch.no_grad():
        filled = session.run(image.numpy(), mask.numpy())
        assert np.abs(filled - network(image, mask).clamp(0, 1).numpy()).max() <= 1e-5
