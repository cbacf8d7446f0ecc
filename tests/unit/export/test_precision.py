"""Half precision inside the budget, float32 for layers that need it, known pixels bit for bit."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.conftest import TINY, randomise
from tests.fakes.bundle import make_model
from wavepaint.contract import Bundle
from wavepaint.errors import VerificationError
from wavepaint.export import bundle
from wavepaint.export.bundle import ExportOptions, write_bundle
from wavepaint.export.cases import verification_cases
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.precision import TypedLayer, to_half
from wavepaint.models.registry import build_model
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.weights.checkpoint import read_checkpoint

CASES = verification_cases(8)
PLAIN = {**TINY, "num_modules": 1, "level": 1}


def overflowing(layer: str) -> torch.nn.Module:
    """A network whose named 1x1 convolution gives values beyond float16's 65,504, undone by the layer behind it."""
    network = randomise(build_model("wavepaint", PLAIN), seed=3)
    with torch.no_grad():
        first = network.get_submodule(f"wavemodules.0.layers.0.{layer}")
        network.get_submodule("wavemodules.0.layers.0.feedforward.4").weight.mul_(1e-7)
        first.weight.mul_(1e7)
        first.bias.mul_(1e7)
    return network


@pytest.mark.parametrize("fused", [False, True])
def test_ordinary_network_is_converted_entirely(fused: bool) -> None:
    network = randomise(build_model("wavepaint", TINY))
    result = to_half(fuse(network) if fused else network, CASES)
    assert result.kept_float32 == []
    assert 50 <= result.min_psnr_hole_db < 200
    assert {p.dtype for p in result.network.parameters()} == {torch.float16}


def test_overflowing_layers_stay_in_float32() -> None:
    network = overflowing("feedforward.3")
    result = to_half(network, CASES)
    # The large value is written by one layer and read by the next: both have to know numbers of that size.
    assert result.kept_float32 == [f"wavemodules.0.layers.0.feedforward.{n}" for n in (3, 4)]
    typed = [(name, m.dtype) for name, m in result.network.network.named_modules() if isinstance(m, TypedLayer)]
    assert [name for name, dtype in typed if dtype == torch.float32] == result.kept_float32
    assert result.min_psnr_hole_db >= 50


def test_known_pixels_are_bit_identical_and_the_original_is_unchanged() -> None:
    network = randomise(build_model("wavepaint", PLAIN))
    before = copy.deepcopy(network.state_dict())
    half = to_half(network, CASES).network
    for _, image, mask in CASES:
        with torch.inference_mode():
            output = half(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
        known = np.broadcast_to(mask == 0, image.shape)
        assert np.array_equal(output[known], image[known])
        assert output.dtype == np.float32
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_network_that_overflows_between_layers_is_refused() -> None:
    class Overflowing(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image + (mask * 60_000 + mask * 60_000) * 1e-6

    with pytest.raises(VerificationError, match="cannot be converted to float16.*without --fp16"):
        to_half(Overflowing(), CASES)


def test_the_guard_measures_bfloat16_likewise() -> None:
    result = to_half(randomise(build_model("wavepaint", PLAIN)), CASES, dtype=torch.bfloat16, min_psnr_db=20)
    assert result.kept_float32 == []
    assert {p.dtype for p in result.network.parameters()} == {torch.bfloat16}
    strict = to_half(randomise(build_model("wavepaint", PLAIN)), CASES, dtype=torch.bfloat16, min_psnr_db=70)
    assert strict.kept_float32
    assert strict.min_psnr_hole_db >= 70


def test_a_bundle_of_every_precision(half_bundle: Bundle) -> None:
    assert [(a.path, a.precision) for a in half_bundle.manifest.artifacts if a.io_dtype == "float32"] == [
        ("model.onnx", "float32"),
        ("model.fp16.onnx", "float16"),
        ("model.bf16.onnx", "bfloat16"),
    ]
    manifest = json.loads((half_bundle.folder / "manifest.json").read_text())
    for report in manifest["verification"]["model.fp16.onnx"]:
        if report["precision"] == "bfloat16":  # some processors compute it, too, and random weights may fail in it
            continue
        assert report["passed"]
        assert report["min_psnr_hole_db"] >= 50
    for name, kind in (("fp16", onnx.TensorProto.FLOAT16), ("bf16", onnx.TensorProto.BFLOAT16)):
        model = onnx.load(half_bundle.folder / f"model.{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
        assert kind in kinds
        assert kinds <= {kind, onnx.TensorProto.FLOAT}  # what bfloat16 does not hold stays in float32
        io_dtype = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
        assert io_dtype == {onnx.TensorProto.FLOAT}
    with OrtSession(make_model(half_bundle.folder / "model.fp16.onnx", precision="float16")) as session:
        _, image, mask = CASES[1]
        known = np.broadcast_to(mask == 0, image.shape)
        assert np.array_equal(session.run(image, mask)[known], image[known])


def test_each_precision_has_its_fastest_upsampling(half_bundle: Bundle) -> None:
    forms = {a.precision: a.details["upsampling"] for a in half_bundle.manifest.artifacts}
    assert forms == {"float32": "phases", "float16": "transposed", "bfloat16": "phases"}
    transposed = {
        path.name
        for path in half_bundle.folder.glob("*.onnx")
        if any(node.op_type == "ConvTranspose" for node in onnx.load(path).graph.node)
    }
    assert transposed == {"model.fp16.onnx", "model.fp16.uint8.onnx"}


def test_the_form_of_the_upsampling_can_be_chosen(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[torch.nn.Module] = []

    def stop(network: torch.nn.Module, *arguments: object, **options: object) -> None:
        exported.append(network)
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "export_onnx", stop)
    options = ExportOptions(upsampling="transposed")
    with pytest.raises(KeyboardInterrupt):
        write_bundle(read_checkpoint(tiny_checkpoint), tmp_path / "bundle", options=options)
    assert any(isinstance(layer, torch.nn.ConvTranspose2d) for layer in exported[0].modules())
