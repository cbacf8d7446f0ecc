"""ONNX graphs without sizes that depend on values, which TensorRT-RTX does not read.

The search for matches finds the blocks of an image that a hole reaches with NonZero (:mod:`wavepaint.ops.cells`).
Searching every block instead gives the same result, because blocks without a hole change nothing.
"""

from pathlib import Path
from typing import Any

from wavepaint.optional import require


def read_static(path: Path, *, extra: str) -> bytes:
    """Return an ONNX model in which each NonZero of a vector counts all of its elements.

    Args:
        path: The model, without external data.
        extra: The extra that installs the onnx package, for the message if it is missing.

    Raises:
        EngineError: The onnx package, which a model with NonZero needs, is not installed.
    """
    data = path.read_bytes()
    if b"NonZero" not in data:
        return data
    onnx: Any = require("onnx", extra=extra)
    model = onnx.load_from_string(data)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        model.graph.node.extend(_count_elements(onnx.helper, node) if node.op_type == "NonZero" else [node])
    static: bytes = model.SerializeToString()
    return static


def _count_elements(helper: Any, node: Any) -> list[Any]:
    """Return nodes that number the elements of a vector, (1, A) like NonZero."""
    (x,), (numbers,) = node.input, node.output
    shape, length, zero, one, axis, count = (f"{numbers}_{name}" for name in ("shape", "length", "0", "1", "axis", "n"))
    return [
        helper.make_node("Shape", [x], [shape]),
        helper.make_node("Squeeze", [shape], [length]),
        helper.make_node("Constant", [], [zero], value_int=0),
        helper.make_node("Constant", [], [one], value_int=1),
        helper.make_node("Range", [zero, length, one], [count]),
        helper.make_node("Constant", [], [axis], value_ints=[0]),
        helper.make_node("Unsqueeze", [count, axis], [numbers]),
    ]
