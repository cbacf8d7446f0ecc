"""Find the regions of a photo that the engine has to see: connected holes with their context.

Only the neighbourhood of a hole matters for its fill. Cutting a large photo into regions around its holes bounds time
and memory by the size of the holes instead of the size of the photo.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELL = 32
"""Side in pixels of the cells on which neighbouring holes are found; holes in touching cells form one region."""

MIN_CONTEXT = 64
"""Smallest margin around a hole, in pixels."""

MIN_SIDE = 256
"""Smallest side of a region, in pixels, where the photo allows it: the size that the networks are trained at."""

SIDE_STEP = 64
"""Sides of regions are multiples of this where the photo allows it, so that many regions have the same size."""

THICKNESS_CELLS = 1024
"""Cells along the longer side on which the thickness of a hole is measured; smaller holes are measured exactly."""


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
        """Return whether the two share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def move(self, down: int, right: int) -> "Region":
        """Return the rectangle moved by an offset."""
        return Region(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def unite(self, other: "Region") -> "Region":
        """Return the smallest rectangle that contains both."""
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def find_bounds(marked_HW: NDArray[np.bool_]) -> Region:
    """Return the smallest rectangle that contains all marked pixels; at least one must be marked."""
    rows, columns = (np.flatnonzero(marked_HW.any(axis=axis)) for axis in (1, 0))
    return Region(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _reduce_cells(hole_HW: NDArray[np.bool_], operation: np.ufunc, side: int) -> NDArray[np.bool_]:
    """Reduce cells of ``side`` pixels to one value each; cells at the right and the bottom may be smaller."""
    height, width = hole_HW.shape
    rows = operation.reduceat(hole_HW, np.arange(0, height, side), axis=0)
    cells: NDArray[np.bool_] = operation.reduceat(rows, np.arange(0, width, side), axis=1)
    return cells


def measure_thickness(hole_HW: NDArray[np.bool_]) -> int:
    """Return the side in pixels of the largest square inside the hole: the distance that a network must bridge.

    Args:
        hole_HW: (H, W), true in the hole. Above 1024 pixels a side the result may be too small by 0.2 % of the side.
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


def _find_components(cells: NDArray[np.bool_]) -> list[Region]:
    """Return the bounding rectangles, in cells, of the 8-connected components."""
    unvisited = cells.copy()
    components: list[Region] = []
    for start_y, start_x in zip(*np.nonzero(cells), strict=True):
        if not unvisited[start_y, start_x]:
            continue
        unvisited[start_y, start_x] = False
        pending, ys, xs = [(int(start_y), int(start_x))], [int(start_y)], [int(start_x)]
        while pending:
            y, x = pending.pop()
            y0, x0 = max(y - 1, 0), max(x - 1, 0)
            for dy, dx in zip(*np.nonzero(unvisited[y0 : y + 2, x0 : x + 2]), strict=True):
                near = (y0 + int(dy), x0 + int(dx))
                unvisited[near] = False
                pending.append(near)
                ys.append(near[0])
                xs.append(near[1])
        components.append(Region(min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return components


def _widen(start: int, stop: int, context: int, limit: int, multiple: int, least: int) -> tuple[int, int]:
    """Widen an interval by ``context`` on both sides, then to ``least`` and SIDE_STEP, within 0 and ``limit``.

    The result starts at a multiple of ``multiple``, and so does its length unless it ends at ``limit``.
    """
    start, stop = max(start - context, 0), min(stop + context, limit)
    length = stop - start + multiple - 1
    if length <= least and least % multiple == 0:
        length = least  # the only side of some networks
    else:
        step = math.lcm(SIDE_STEP, multiple)
        length = -(-max(length, least) // step) * step
    if length >= limit:
        return 0, limit
    start = min(max(start - (length - (stop - start)) // 2, 0), limit - length)
    start -= start % multiple
    # At the far end the region becomes a little longer so that it stays on the grid.
    return start, limit if limit - (start + length) < multiple else start + length


def find_regions(
    hole_HW: NDArray[np.bool_],
    multiple: int = 1,
    least: tuple[int, int] = (MIN_SIDE, MIN_SIDE),
    most: tuple[int, int] = (sys.maxsize, sys.maxsize),
) -> list[Region]:
    """Return disjoint rectangles that together contain every hole, each with a margin of context.

    The margin is half of the shorter side of the hole's extent, at least :data:`MIN_CONTEXT`, and ends at the photo's
    borders. It is smaller if only then the region fits ``most``. Regions that would overlap are merged.

    Args:
        hole_HW: (H, W), true in the hole.
        multiple: Regions start at multiples of this. A network whose wavelets lie on a grid then sees each hole at the
            same position on the grid as in the whole photo.
        least: Smallest height and width of a region, in pixels, where the photo allows it.
        most: Largest height and width that the network takes, in pixels. Regions may still be larger.
    """
    height, width = hole_HW.shape
    regions: list[Region] = []
    for part in _find_components(_reduce_cells(hole_HW, np.logical_or, CELL)):
        cells = np.s_[part.top * CELL : part.bottom * CELL, part.left * CELL : part.right * CELL]
        hole = find_bounds(hole_HW[cells]).move(part.top * CELL, part.left * CELL)
        context = max(MIN_CONTEXT, min(hole.height, hole.width) // 2)
        down, across = (
            min(context, max((high - multiple + 1 - side) // 2, MIN_CONTEXT))
            for high, side in zip(most, (hole.height, hole.width), strict=True)
        )
        left, right = _widen(hole.left, hole.right, across, width, multiple, least[1])
        top, bottom = _widen(hole.top, hole.bottom, down, height, multiple, least[0])
        new = Region(left, top, right, bottom)
        while touching := [region for region in regions if region.overlaps(new)]:
            for region in touching:
                regions.remove(region)
                new = new.unite(region)
        regions.append(new)
    return regions
