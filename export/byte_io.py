"""uint8 inputs and outputs: all pre- and post-processing inside the ONNX file.

:func:`add_byte_io` wraps a model with float32 inputs and outputs. A client in any language then sends the bytes of an
image and a mask, and receives the bytes of the result. Threshold, normalisation, padding to the size multiple, crop,
rounding and composition become nodes of the graph. They repeat the Python code of :mod:`wavepaint.runtime` in the same
order, in float32, so known pixels are bit-identical and others differ by at most one level.
"""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, MASK_THRESHOLD, OUTPUT_IMAGE, PadMode

_INNER = "float/"
"""Prefix of the wrapped model's inputs and outputs."""

_SIDES = ("height", "width")


def add_byte_io(model: ModelProto, size_multiple: int, padding: PadMode, least: tuple[int, int] = (1, 1)) -> ModelProto:
    """Return a copy of a model with uint8 inputs and outputs, by the contract.

    Args:
        model: A model with float32 inputs and outputs, by the contract.
        size_multiple: The height and width of ``model`` must be multiples of this.
        padding: The manifest's padding mode.
        least: The smallest height and width that ``model`` takes. Smaller images are padded to them.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    tensors = (INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in tensors:
                    names[index] = _INNER + name
    batch = _find_batch(graph)
    network = list(graph.node)
    del graph.node[:]
    has_least = max(least) > 1
    pads = size_multiple > 1 or has_least
    graph.node.extend([*_before(padding, pads=pads, has_least=has_least), *network, *_after()])
    graph.initializer.extend(_constants(size_multiple, least if has_least else None))
    del graph.input[:], graph.output[:], graph.value_info[:]
    for name, channels, values in (
        (INPUT_IMAGE, IMAGE_CHANNELS, graph.input),
        (INPUT_MASK, 1, graph.input),
        (OUTPUT_IMAGE, IMAGE_CHANNELS, graph.output),
    ):
        values.append(helper.make_tensor_value_info(name, TensorProto.UINT8, [batch, "H", "W", channels]))
    onnx.checker.check_model(model, full_check=True)
    return model


def _find_batch(graph: onnx.GraphProto) -> int | str:
    """Return the batch that a graph takes, or "N" if it takes any."""
    return graph.input[0].type.tensor_type.shape.dim[0].dim_value or "N"


def _constants(size_multiple: int, least: tuple[int, int] | None) -> list[TensorProto]:
    values = {
        "peak": np.float32(255),
        "low": np.float32(0),
        "high": np.float32(1),
        # Between two levels, so comparing integers with it is exact.
        "threshold": np.float32(MASK_THRESHOLD - 0.5),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "two": np.array(2, np.int64),
        "multiple": np.array(size_multiple, np.int64),
        "multiple_less_one": np.array(size_multiple - 1, np.int64),
        "axis_height": np.array([2], np.int64),
        "axis_width": np.array([3], np.int64),
        "start": np.array([0], np.int64),
    }
    if least is not None:
        values |= {f"{side}_least": np.array(value, np.int64) for side, value in zip(_SIDES, least, strict=True)}
    return [numpy_helper.from_array(np.asarray(value), f"edges/{name}") for name, value in values.items()]


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """Return a node; names without a slash get the prefix ``edges/``."""
    names = [name if "/" in name or name in (INPUT_IMAGE, INPUT_MASK) else f"edges/{name}" for name in inputs.split()]
    output = output if "/" in output or output == OUTPUT_IMAGE else f"edges/{output}"
    return helper.make_node(operator, names, [output], name=f"edges/{operator}/{output}", **attributes)


def _before(padding: PadMode, *, pads: bool, has_least: bool) -> list[NodeProto]:
    """Convert bytes (N, H, W, C) to the network's padded float32 (N, C, H, W)."""
    nodes = [
        _node("Cast", "image", "image_levels", to=TensorProto.FLOAT),
        _node("Cast", "mask", "mask_levels", to=TensorProto.FLOAT),
        _node("Greater", "mask_levels threshold", "hole"),
        _node("Cast", "hole", "hole_values", to=TensorProto.FLOAT),
        _node("Div", "image_levels peak", "image_values"),
        _node("Transpose", "image_values", "image_NCHW", perm=[0, 3, 1, 2]),
        _node("Transpose", "hole_values", "mask_NCHW", perm=[0, 3, 1, 2]),
        _node("Shape", "image_NCHW", "shape"),
    ]
    for side in _SIDES:
        nodes += [
            _node("Gather", f"shape axis_{side}", f"{side}_1"),
            _node("Squeeze", f"{side}_1 start", side),
        ]
        if not pads:
            continue
        # A small image is mirrored several times: position i of the padded axis reads min(t, far - t), where
        # t = i mod period. "symmetric" repeats the border, "reflect" does not.
        mirror = {
            "symmetric": [
                _node("Mul", f"{side} two", f"{side}_period"),
                _node("Sub", f"{side}_period one", f"{side}_far"),
            ],
            "reflect": [
                _node("Sub", f"{side} one", f"{side}_last"),
                _node("Mul", f"{side}_last two", f"{side}_far"),
                _node("Max", f"{side}_far one", f"{side}_period"),
            ],
        }
        nodes += [
            *mirror[padding],
            *([_node("Max", f"{side} {side}_least", f"{side}_enough")] if has_least else []),
            _node("Add", f"{side}{'_enough' if has_least else ''} multiple_less_one", f"{side}_raised"),
            _node("Div", f"{side}_raised multiple", f"{side}_multiples"),
            _node("Mul", f"{side}_multiples multiple", f"{side}_padded"),
            _node("Range", f"zero {side}_padded one", f"{side}_positions"),
            _node("Div", f"{side}_positions {side}_period", f"{side}_turns"),
            _node("Mul", f"{side}_turns {side}_period", f"{side}_before"),
            _node("Sub", f"{side}_positions {side}_before", f"{side}_ahead"),
            _node("Sub", f"{side}_far {side}_ahead", f"{side}_back"),
            _node("Min", f"{side}_ahead {side}_back", f"{side}_sources"),
        ]
    for name in ("image", "mask"):
        source = f"{name}_NCHW"
        if pads:
            nodes += [
                _node("Gather", f"{source} height_sources", f"{name}_tall", axis=2),
                _node("Gather", f"{name}_tall width_sources", f"{name}_padded", axis=3),
            ]
            source = f"{name}_padded"
        nodes.append(_node("Identity", source, _INNER + name))
    return nodes


def _after() -> list[NodeProto]:
    """Convert the network's float32 to bytes: crop, round, compose."""
    return [
        _node("Slice", f"{_INNER}{OUTPUT_IMAGE} start height_1 axis_height", "filled_rows"),
        _node("Slice", "filled_rows start width_1 axis_width", "filled_NCHW"),
        _node("Transpose", "filled_NCHW", "filled_values", perm=[0, 2, 3, 1]),
        _node("Clip", "filled_values low high", "filled_clipped"),
        _node("Mul", "filled_clipped peak", "filled_raised"),
        _node("Round", "filled_raised", "filled_levels"),
        # Levels are integers up to 255, exact in float32 and even in bfloat16.
        _node("Where", "hole filled_levels image_levels", "levels"),
        _node("Cast", "levels", OUTPUT_IMAGE, to=TensorProto.UINT8),
    ]
