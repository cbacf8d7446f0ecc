"""Cut a region into overlapping tiles, and weight them for blending."""

import numpy as np
from numpy.typing import NDArray
from wavepaint.runtime.filling.regions import Region

TILE_OVERLAP = 128
"""Pixels that neighbouring tiles share where they are large enough. The outer quarter on each side is ignored; across
the rest the tiles are blended."""


def choose_overlap(side: int, multiple: int) -> int:
    """Return how many pixels neighbouring tiles share, so that each tile also has pixels of its own."""
    return min(TILE_OVERLAP, (side - multiple) // 2)


def _cut(length: int, side: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """Cut an interval into pieces of ``side`` that overlap by at least ``overlap``."""
    step = (side - overlap) // multiple * multiple
    # All pieces start on the grid. The last one ends at the end, so that it has nearly its full size too.
    last = -(-max(length - side, 0) // multiple) * multiple
    return [(start, start + side) for start in range(0, last, step)] + [(last, length)]


def cut_tiles(
    height: int, width: int, sides: tuple[int, int], overlaps: tuple[int, int], multiple: int = 1
) -> list[list[Region]]:
    """Cut a rectangle into rows of overlapping tiles that start at multiples of ``multiple``.

    Args:
        height: Height of the rectangle in pixels.
        width: Width of the rectangle in pixels.
        sides: Height and width of the tiles, multiples of ``multiple``. The last tile of a row or column may be
            shorter by less than ``multiple``. A rectangle smaller than a tile becomes one tile.
        overlaps: Least number of pixels that vertical and horizontal neighbours share, at most
            ``(side - multiple) // 2``; see :func:`choose_overlap`.
        multiple: See :func:`~wavepaint.runtime.filling.regions.find_regions`.
    """
    return [
        [Region(left, top, right, bottom) for left, right in _cut(width, sides[1], overlaps[1], multiple)]
        for top, bottom in _cut(height, sides[0], overlaps[0], multiple)
    ]


def _ramp(length: int, overlap: int, from_start: bool, to_end: bool) -> NDArray[np.float32]:
    """Return weights along a side of a tile: 0 in the outer part of an overlap, then rising to 1."""
    idle = overlap // 4
    rising = np.clip((np.arange(length) - idle + 0.5) / max(overlap - 2 * idle, 1), 0, 1)
    weights = np.ones(length)
    if not from_start:
        weights = np.minimum(weights, rising)
    if not to_end:
        weights = np.minimum(weights, rising[::-1])
    return weights.astype(np.float32)


def weigh_tile(tile: Region, height: int, width: int, overlaps: tuple[int, int]) -> NDArray[np.float32]:
    """Return the weights (H, W) of a tile's pixels for blending.

    At the borders of the rectangle a tile counts up to its edge. Elsewhere its outermost pixels, which lack context on
    one side, have weight 0.

    Args:
        tile: A tile of the rectangle.
        height: Height of the rectangle in pixels.
        width: Width of the rectangle in pixels.
        overlaps: See :func:`cut_tiles`.
    """
    rows = _ramp(tile.height, overlaps[0], tile.top == 0, tile.bottom == height)
    columns = _ramp(tile.width, overlaps[1], tile.left == 0, tile.right == width)
    return rows[:, None] * columns[None, :]
