"""The measured cost equals PyTorch's count of operations, and memory counted by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import TINY, randomise
from wavepaint.contract import Bundle, default_bundle_folder
from wavepaint.errors import OutputError
from wavepaint.export import cost
from wavepaint.export.cost import measure_cost
from wavepaint.export.fusion.fuse import fuse
from wavepaint.models.registry import build_model


def test_multiply_accumulates_equal_pytorchs_count(tiny_bundle: Bundle) -> None:
    network = fuse(randomise(build_model("wavepaint", TINY)), upsampling="phases")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 256, 256), torch.ones(1, 1, 256, 256))
    assert tiny_bundle.manifest.macs_per_pixel == pytest.approx(counter.get_total_flops() / 2 / 256**2, rel=0.01)


def test_memory_is_the_peak_of_live_tensors(tmp_path: Path) -> None:
    """image and mask, 4 channels, live with a (8) until it is made; a lives with b (8) and c (16)."""
    weight = numpy_helper.from_array(np.ones((8, 4, 1, 1), np.float32), "weight")
    nodes = [
        helper.make_node("Concat", ["image", "mask"], ["x"], name="n0", axis=1),
        helper.make_node("Conv", ["x", "weight"], ["a"], name="n1"),
        helper.make_node("Relu", ["a"], ["b"], name="n2"),
        helper.make_node("Concat", ["a", "b"], ["c"], name="n3", axis=1),
        helper.make_node("Slice", ["c", "zero", "three", "one"], ["image_out"], name="n4"),
    ]
    numbers = [numpy_helper.from_array(np.array([n]), name) for n, name in ((0, "zero"), (3, "three"), (1, "one"))]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "H", "W"])
        for name, channels in (("image", 3), ("mask", 1))
    ]
    output = helper.make_tensor_value_info("image_out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output], [weight, *numbers])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    cost = measure_cost(tmp_path / "m.onnx", 1)
    assert cost.activation_bytes_per_pixel == 4 * (8 + 8 + 16)
    assert cost.macs_per_pixel == 8 * 4


def test_profile_cut_short_by_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class CutShort(cost.ort.InferenceSession):  # type: ignore[name-defined]
        def end_profiling(self) -> str:
            path = Path(super().end_profiling())
            path.write_bytes(path.read_bytes()[:-100])
            return str(path)

    monkeypatch.setattr(cost.ort, "InferenceSession", CutShort)
    with pytest.raises(OutputError, match=r"profile in .* is incomplete, probably because that disk is full.*TMPDIR"):
        measure_cost(default_bundle_folder() / "model.onnx", 32)
