"""Cells of maps: split a map into cells, take cells around those of interest, and put results back.

What is computed for a hole needs only the cells in and beside it, so engines need not compute it everywhere. A map of
cells is (N, h, w, D), channels last, because a row of D values is then moved as one piece. Cells are grouped in square
blocks; with blocks of one cell, a block is a cell.

The number of blocks of interest depends on the mask, and the size of a map on the image. An export captures the three
operators that depend on them as one operator each; :mod:`wavepaint.export.translations` translates them.
"""

import functools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Offsets = Sequence[tuple[int, int]]
"""Cells (down, right) of the first cell of a block."""


def split_cells(x_NCHW: Tensor, side: int) -> Tensor:
    """Split a map into cells of ``side`` x ``side`` pixels, (N, h, w, D) with D = C side side."""
    x = torch.unflatten(torch.unflatten(x_NCHW, 3, (-1, side)), 2, (-1, side))
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3)


def join_cells(x_NhwD: Tensor, side: int) -> Tensor:
    """Join what :func:`split_cells` splits, (N, C, H, W)."""
    x = torch.unflatten(x_NhwD, 3, (-1, side, side))
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def find_blocks(map_N1nm: Tensor) -> Tensor:
    """Return the numbers of the blocks where a map (N, 1, n, m) is not 0, and always 0: (A,) int64, ascending.

    The first block is always there, because engines cannot reshape a tensor without values.
    """
    return (find_operator if torch.compiler.is_exporting() else _find_blocks)(map_N1nm)


def square_offsets(first: int, end: int) -> list[tuple[int, int]]:
    """Return all pairs of numbers from ``first`` to before ``end``, row by row."""
    return [(down, right) for down in range(first, end) for right in range(first, end)]


def take_cells(x_NhwD: Tensor, blocks_A: Tensor, side: int, offsets: Offsets) -> Tensor:
    """Take the cells at K offsets from each block.

    Args:
        x_NhwD: Cells. The last row and column may belong to no block.
        blocks_A: Numbers of blocks.
        side: Cells of a block's side.
        offsets: K of them.

    Returns:
        (A, K, D); 0 beyond the border.
    """
    table, numbers_AK = _number_offsets(x_NhwD, blocks_A, side, offsets)
    return F.embedding(numbers_AK, table)


def take_in_turn(x_NhwD: Tensor, blocks_A: Tensor, side: int, offsets: Offsets) -> Iterator[Tensor]:
    """Yield what :func:`take_cells` returns, (A, D) for one offset after the other, which takes less memory."""
    table, numbers_AK = _number_offsets(x_NhwD, blocks_A, side, offsets)
    for index in range(len(offsets)):
        yield F.embedding(numbers_AK[:, index], table)


def put_cells(x_ABD: Tensor, blocks_A: Tensor, side: int, like_NhwD: Tensor) -> Tensor:
    """Return a map as large as ``like_NhwD``, with the cells (A, B, D) of blocks put in their places; 0 elsewhere."""
    _, numbers_AB = _number_offsets(like_NhwD, blocks_A, side, square_offsets(0, side))
    return (put_operator if torch.compiler.is_exporting() else _put_cells)(x_ABD, numbers_AB, like_NhwD)


def _number_offsets(x_NhwD: Tensor, blocks_A: Tensor, side: int, offsets: Offsets) -> tuple[Tensor, Tensor]:
    """Return the padded cells as a table, and the numbers of those to take (A, K)."""
    downs, rights = (list(axis) for axis in zip(*offsets, strict=True))
    before, after = max(0, -min(downs + rights)), max(0, max(downs + rights) + 1 - side)
    if before or after:
        x_NhwD = F.pad(x_NhwD, (0, 0, before, after, before, after))
    operator = number_operator if torch.compiler.is_exporting() else _number_cells
    steps = ([step + before for step in axis] for axis in (downs, rights))
    return x_NhwD.flatten(0, 2), operator(x_NhwD, blocks_A, side, before + after, *steps)


def _find_blocks(x: Tensor) -> Tensor:
    values = x.flatten()
    if _is_recorded(x):
        return torch.arange(len(values), device=x.device)
    return torch.nonzero(torch.cat([torch.ones_like(values[:1]), values[1:]]))[:, 0]


def _is_recorded(x: Tensor) -> bool:
    """Return whether a CUDA graph or ``torch.compile`` records the operations, whose sizes may then not depend on x."""
    return torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())


@functools.lru_cache
def _keep_steps(steps: tuple[int, ...], *, device: torch.device) -> Tensor:
    """Return numbers as a tensor. It is kept, because a CUDA graph cannot copy from ordinary memory."""
    with torch.inference_mode(False):  # training may use it later
        return torch.tensor(steps, device=device)


def _number_cells(
    x: Tensor, blocks: Tensor, side: int, added: int, downs: Sequence[int], rights: Sequence[int]
) -> Tensor:
    height, width = x.shape[1:3]
    rows, columns = (height - added) // side, (width - added) // side
    image, block = blocks // (rows * columns), blocks % (rows * columns)
    first = (image * height + block // columns * side) * width + block % columns * side
    # torch.compile warns of caches, and torch.export may bring tensors without values.
    keeps = x.is_cuda and type(x) is Tensor and not torch.compiler.is_compiling()
    down, right = ((_keep_steps if keeps else torch.tensor)(tuple(steps), device=x.device) for steps in (downs, rights))
    return first[:, None] + (down * width + right)


def _put_cells(x: Tensor, numbers: Tensor, like: Tensor) -> Tensor:
    zeros = x.new_zeros(like.shape[:3].numel(), x.shape[2])
    return torch.unflatten(zeros.index_copy(0, numbers.flatten(), x.flatten(0, 1)), 0, like.shape[:3])


@torch.library.custom_op("wavepaint::find_blocks", mutates_args=())
def find_operator(x: Tensor) -> Tensor:
    return _find_blocks(x).clone()


@find_operator.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


@torch.library.custom_op("wavepaint::number_cells", mutates_args=())
def number_operator(
    x: Tensor, blocks: Tensor, side: int, added: int, downs: Sequence[int], rights: Sequence[int]
) -> Tensor:
    return _number_cells(x, blocks, side, added, downs, rights)


@number_operator.register_fake
def _(x: Tensor, blocks: Tensor, side: int, added: int, downs: Sequence[int], rights: Sequence[int]) -> Tensor:
    return blocks.new_empty(blocks.shape[0], len(downs))


@torch.library.custom_op("wavepaint::put_cells", mutates_args=())
def put_operator(x: Tensor, numbers: Tensor, like: Tensor) -> Tensor:
    return _put_cells(x, numbers, like)


@put_operator.register_fake
def _(x: Tensor, numbers: Tensor, like: Tensor) -> Tensor:
    return x.new_empty(*like.shape[:3], x.shape[2])
