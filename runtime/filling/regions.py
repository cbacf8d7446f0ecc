"""Which parts of a photograph have to pass the engine, and how a part that is too large is cut into tiles.

Only the neighbourhood of a hole matters for its fill, so a large photo is cut into regions around its holes. That
bounds time and memory by the holes and not by the photo.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import PadMode

_Pixel = TypeVar("_Pixel", bound=np.generic)

CELL = 32
"""Side of the cells, in pixels, on which neighbouring holes are found; holes in touching cells belong together."""

MIN_CONTEXT = 64
"""Least margin around a hole, in pixels."""

MIN_SIDE = 256
"""Least side of a region where the photo allows it, in pixels: the size the networks are trained at."""

SIDE_STEP = 64
"""Sides of regions are multiples of this where the photo allows it, so that many regions have one size."""

THICKNESS_CELLS = 1024
"""Cells along the longer side on which the thickness of a hole is measured; smaller holes are measured exactly."""

TILE_OVERLAP = 128
"""Pixels that neighbouring tiles share where they are large enough. The outer quarter on each side does not count,
across the rest they blend."""


@dataclass(frozen=True)
class Region:
    """A rectangle in pixels; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def num_pixels(self) -> int:
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an (H, W, ...) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def overlaps(self, other: "Region") -> bool:
        """Whether the two share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def moved(self, down: int, right: int) -> "Region":
        """Return the rectangle that far away."""
        return Region(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def union(self, other: "Region") -> "Region":
        """Return the smallest rectangle that holds both."""
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def pad_side(side: int, multiple: int, least: int = 1) -> int:
    """Return the least multiple of ``multiple`` that is neither smaller than a side nor than ``least``."""
    return -(-max(side, least) // multiple) * multiple


def pad_to_multiple(
    pixels_HWC: NDArray[_Pixel], multiple: int, padding: PadMode, least: tuple[int, int] = (1, 1)
) -> NDArray[_Pixel]:
    """Mirror (H, W) or (H, W, C) at the bottom and the right, in numpy's mode, to the sides of :func:`pad_side`."""
    height, width = pixels_HWC.shape[:2]
    down, right = pad_side(height, multiple, least[0]) - height, pad_side(width, multiple, least[1]) - width
    return np.pad(pixels_HWC, ((0, down), (0, right), *((0, 0),) * (pixels_HWC.ndim - 2)), mode=padding)


def _reduce_cells(hole_HW: NDArray[np.bool_], operation: np.ufunc, side: int) -> NDArray[np.bool_]:
    """Reduce cells of ``side`` pixels; those at the right and the bottom may be smaller."""
    height, width = hole_HW.shape
    rows = operation.reduceat(hole_HW, np.arange(0, height, side), axis=0)
    cells: NDArray[np.bool_] = operation.reduceat(rows, np.arange(0, width, side), axis=1)
    return cells


def measure_thickness(hole_HW: NDArray[np.bool_]) -> int:
    """Return the side, in pixels, of the largest square inside the hole: what a network must bridge.

    Args:
        hole_HW: (H, W), true in the hole. Above 1024 pixels a side the result is too small by up to 0.2 % of it.
    """
    step = -(-max(hole_HW.shape) // THICKNESS_CELLS)
    cells = _reduce_cells(hole_HW, np.logical_and, step)
    sums = np.pad(cells.astype(np.int32).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    fits, exceeds = 0, min(cells.shape) + 1
    while exceeds - fits > 1:
        side = (fits + exceeds) // 2
        inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        fits, exceeds = (side, exceeds) if (inside == side * side).any() else (fits, side)
    return int(fits * step)


def _connected_cells(cells: NDArray[np.bool_]) -> list[Region]:
    """Return the bounding rectangles, in cells, of the 8-connected parts."""
    left_over = cells.copy()
    parts: list[Region] = []
    for start_y, start_x in zip(*np.nonzero(cells), strict=True):
        if not left_over[start_y, start_x]:
            continue
        left_over[start_y, start_x] = False
        pending, ys, xs = [(int(start_y), int(start_x))], [int(start_y)], [int(start_x)]
        while pending:
            y, x = pending.pop()
            y0, x0 = max(y - 1, 0), max(x - 1, 0)
            for dy, dx in zip(*np.nonzero(left_over[y0 : y + 2, x0 : x + 2]), strict=True):
                near = (y0 + int(dy), x0 + int(dx))
                left_over[near] = False
                pending.append(near)
                ys.append(near[0])
                xs.append(near[1])
        parts.append(Region(min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return parts


def _grow(start: int, stop: int, context: int, limit: int, multiple: int) -> tuple[int, int]:
    """Widen an interval by ``context`` on both sides, to MIN_SIDE and to the steps, as far as 0 and ``limit`` allow.

    It starts at a multiple of ``multiple``, and its length is one unless it ends at ``limit``.
    """
    start, stop = max(start - context, 0), min(stop + context, limit)
    length = max(stop - start + multiple - 1, MIN_SIDE)
    step = math.lcm(SIDE_STEP, multiple)
    length = -(-length // step) * step
    if length >= limit:
        return 0, limit
    start = min(max(start - (length - (stop - start)) // 2, 0), limit - length)
    start -= start % multiple
    # At the far end a region is a little longer rather than off the grid.
    return start, limit if limit - (start + length) < multiple else start + length


def find_regions(hole_HW: NDArray[np.bool_], multiple: int = 1) -> list[Region]:
    """Return disjoint rectangles that together hold every hole, each with a margin of context.

    The margin is half of the shorter side of the hole's extent, and at least :data:`MIN_CONTEXT`, as far as the photo
    goes. Regions that would overlap are merged.

    Args:
        hole_HW: (H, W), true in the hole.
        multiple: Regions start at multiples of this, so that a network whose wavelets stand on a grid sees the holes
            at the places of the grid where it would see them in the whole photo.
    """
    height, width = hole_HW.shape
    regions: list[Region] = []
    for part in _connected_cells(_reduce_cells(hole_HW, np.logical_or, CELL)):
        rows, columns = slice(part.top * CELL, part.bottom * CELL), slice(part.left * CELL, part.right * CELL)
        ys = np.flatnonzero(hole_HW[rows, columns].any(axis=1)) + rows.start
        xs = np.flatnonzero(hole_HW[rows, columns].any(axis=0)) + columns.start
        top, bottom, left, right = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
        context = max(MIN_CONTEXT, min(bottom - top, right - left) // 2)
        left, right = _grow(left, right, context, width, multiple)
        top, bottom = _grow(top, bottom, context, height, multiple)
        new = Region(left, top, right, bottom)
        while touching := [region for region in regions if region.overlaps(new)]:
            for region in touching:
                regions.remove(region)
                new = new.union(region)
        regions.append(new)
    return regions


def _cut(length: int, side: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """Cut an interval into pieces of ``side`` that overlap by at least ``overlap``."""
    step = (side - overlap) // multiple * multiple
    # All start on the grid. The last ends at the end, so that it too has nearly its full size.
    last = -(-max(length - side, 0) // multiple) * multiple
    return [(start, start + side) for start in range(0, last, step)] + [(last, length)]


def cut_tiles(
    height: int, width: int, sides: tuple[int, int], overlaps: tuple[int, int], multiple: int = 1
) -> list[list[Region]]:
    """Cut a rectangle into rows of overlapping tiles that start at multiples of ``multiple``.

    Args:
        height: Of the rectangle, in pixels.
        width: Likewise.
        sides: Height and width of the tiles, multiples of ``multiple``. The last tile of a row or column may be
            shorter by less than ``multiple``, and a rectangle smaller than a tile is one tile.
        overlaps: Pixels that neighbours share at least, from top to bottom and from left to right; of a side at most
            half of what it has more than ``multiple``.
        multiple: See :func:`find_regions`.
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
    """Return the weights (H, W) with which a tile counts where tiles overlap.

    At the borders of the whole rectangle a tile counts to its edge; elsewhere the outermost pixels, which have no
    context on one side, do not count at all.

    Args:
        tile: A tile of the rectangle.
        height: Of the rectangle, in pixels.
        width: Likewise.
        overlaps: See :func:`cut_tiles`.
    """
    rows = _ramp(tile.height, overlaps[0], tile.top == 0, tile.bottom == height)
    columns = _ramp(tile.width, overlaps[1], tile.left == 0, tile.right == width)
    return rows[:, None] * columns[None, :]
