"""A model without sizes that depend on values computes the same, and needs no onnx package if there are none."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, default_bundle_folder
from wavepaint.runtime.engines.session import make_batch
from wavepaint.runtime.engines.tensorrt.static_graph import read_static


def test_nonzero_counts_every_element(tmp_path: Path) -> None:
    vector = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["L"])
    numbers = helper.make_tensor_value_info("y", TensorProto.INT64, [1, "A"])
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "find", [vector], [numbers])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    session = ort.InferenceSession(read_static(path, extra="tensorrt"))
    (found,) = session.run(None, {"x": np.array([0, 1, 0, 2], np.float32)})
    assert found.tolist() == [[0, 1, 2, 3]]


def test_another_model_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"any")
    assert read_static(tmp_path / "model.onnx", extra="tensorrt") == b"any"


def test_searching_every_block_fills_the_same() -> None:
    """Bit-equal: a block's result does not depend on which others are searched."""
    path = default_bundle_folder() / "model.onnx"
    image, mask = make_batch(1, 128, 192)
    mask[..., :64, :] = 0
    fills = [
        ort.InferenceSession(model).run(None, {INPUT_IMAGE: image, INPUT_MASK: mask})[0]
        for model in (path.read_bytes(), read_static(path, extra="tensorrt"))
    ]
    np.testing.assert_array_equal(*fills)
