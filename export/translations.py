"""Translations of PyTorch operators to ONNX that the exporter lacks or makes larger."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from onnxscript import opset18 as op

from wavepaint.ops import cells, maps  # noqa: F401  # they define torch.ops.wavepaint


def _int(value: int) -> Any:
    return op.Constant(value_int=value)


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=[*values])


def _subtract_from(self: Any, other: Any, alpha: Any = 1.0) -> Any:
    return op.Sub(op.CastLike(other, self), self if alpha == 1 else op.Mul(self, op.CastLike(alpha, self)))


def _cast(self: Any, dtype: int, non_blocking: bool = False, copy: bool = False, memory_format: str = "") -> Any:
    return op.Cast(self, to=dtype)


def _convolve_transposed(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Any:
    return op.ConvTranspose(
        input,
        weight,
        bias,
        strides=[*stride],
        pads=[*padding, *padding],
        output_padding=[*output_padding],
        group=groups,
        dilations=[*dilation],
    )


def _normalise_batch(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    return op.BatchNormalization(input, weight, bias, running_mean, running_var, epsilon=eps)


def _crop_like(x: Any, like: Any) -> Any:
    return op.Slice(x, _ints(0, 0, 0, 0), op.Shape(like))


def _extend(x: Any, side: int) -> Any:
    missing = op.Max(op.Sub(_ints(side, side), op.Shape(x, start=2)), _ints(0, 0))
    return op.Pad(x, op.Concat(_ints(*[0] * 6), missing, axis=0), mode="edge")


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    return _replace_axes(x, start_dim, [-1], end_dim % len(x.shape) + 1)


def _unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    return _replace_axes(x, dim, sizes, dim + 1)


def _replace_axes(x: Any, start: int, sizes: Sequence[int], end: int) -> Any:
    """Replace the axes from ``start`` to ``end`` by others. The exporter's own translations take twice the nodes."""
    shape = _ints(*[0] * start, *sizes)  # 0 keeps an axis
    if end < len(x.shape):
        shape = op.Concat(shape, op.Shape(x, start=end), axis=0)
    return op.Reshape(x, shape)


def _average(x: Any, output_size: Sequence[int]) -> Any:
    if list(output_size) != [1, 1]:
        raise ValueError(f"an average over parts of the image ({output_size}) cannot be exported")
    return op.GlobalAveragePool(x)


def _number_side(x: Any, axis: int) -> Any:
    length: Any = op.Squeeze(op.Shape(x, start=axis, end=axis + 1))
    return op.Range(_int(0), length, _int(1))


def _find_blocks(x: Any) -> Any:
    one: Any = op.Constant(value_floats=[1.0])
    others = op.Slice(op.Reshape(x, _ints(-1)), _ints(1), _ints(np.iinfo(np.int64).max))
    return op.Squeeze(op.NonZero(op.Concat(op.CastLike(one, x), others, axis=0)), _ints(0))


def _number_cells(x: Any, blocks: Any, side: int, added: int, downs: Sequence[int], rights: Sequence[int]) -> Any:
    height, width = op.Shape(x, start=1, end=2), op.Shape(x, start=2, end=3)
    block_side = _int(side)
    rows, columns = (op.Div(op.Sub(length, _int(added)), block_side) for length in (height, width))
    blocks_of_image = op.Mul(rows, columns)
    image, block = op.Div(blocks, blocks_of_image), op.Mod(blocks, blocks_of_image)
    row, column = op.Div(block, columns), op.Mod(block, columns)
    first_row = op.Add(op.Mul(image, height), op.Mul(row, block_side))
    first = op.Add(op.Mul(first_row, width), op.Mul(column, block_side))
    steps = op.Add(op.Mul(_ints(*downs), width), _ints(*rights))
    return op.Add(op.Unsqueeze(first, _ints(1)), steps)


def _put_cells(x: Any, numbers: Any, like: Any) -> Any:
    shape = op.Concat(op.Shape(like, end=3), op.Shape(x, start=2), axis=0)
    zero: Any = op.Constant(value_float=0.0)
    zeros = op.Reshape(op.Expand(op.CastLike(zero, x), shape), _ints(-1, x.shape[2]))
    put = op.ScatterND(zeros, op.Unsqueeze(numbers, _ints(2)), x)
    return op.Reshape(put, shape)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.rsub.Scalar: _subtract_from,
    torch.ops.aten.to.dtype: _cast,
    torch.ops.aten.conv_transpose2d.input: _convolve_transposed,
    torch.ops.aten.batch_norm.default: _normalise_batch,
    torch.ops.aten.flatten.using_ints: _flatten,
    torch.ops.aten.adaptive_avg_pool2d.default: _average,
    torch.ops.aten.unflatten.int: _unflatten,
    torch.ops.wavepaint.crop_like.default: _crop_like,
    torch.ops.wavepaint.extend.default: _extend,
    torch.ops.wavepaint.number_side.default: _number_side,
    torch.ops.wavepaint.find_blocks.default: _find_blocks,
    torch.ops.wavepaint.number_cells.default: _number_cells,
    torch.ops.wavepaint.put_cells.default: _put_cells,
}
"""By operator, for captured networks in evaluation mode."""
