"""Which parts of a photograph have to pass the engine.

Only the neighbourhood of a hole matters for its fill, so a large photo is cut into regions around its holes. That
bounds time and memory by the holes and not by the photo.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Pixel = TypeVar("_Pixel", bound=np.generic)

CELL = 32
"""Side of the cells, in pixels, on which neighbouring holes are found; holes in touching cells belong together."""

MIN_CONTEXT = 64
"""Least margin around a hole, in pixels."""

MIN_SIDE = 256
"""Least side of a region where the photo allows it, in pixels: the size the networks are trained at."""


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
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an (H, W, ...) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def overlaps(self, other: "Region") -> bool:
        """Whether the two share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def union(self, other: "Region") -> "Region":
        """Return the smallest rectangle that holds both."""
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def pad_to_multiple(pixels_HWC: NDArray[_Pixel], multiple: int) -> NDArray[_Pixel]:
    """Extend (H, W) or (H, W, C) at the bottom and the right, by reflection, to multiples of ``multiple``."""
    height, width = pixels_HWC.shape[:2]
    pads = ((0, -height % multiple), (0, -width % multiple), *((0, 0),) * (pixels_HWC.ndim - 2))
    return np.pad(pixels_HWC, pads, mode="reflect")


def _occupied_cells(hole_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = hole_HW.shape
    rows = np.logical_or.reduceat(hole_HW, np.arange(0, height, CELL), axis=0)
    cells: NDArray[np.bool_] = np.logical_or.reduceat(rows, np.arange(0, width, CELL), axis=1)
    return cells


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


def _grow(start: int, stop: int, context: int, limit: int) -> tuple[int, int]:
    """Widen an interval by ``context`` on both sides, and to MIN_SIDE, as far as 0 and ``limit`` allow."""
    start, stop = max(start - context, 0), min(stop + context, limit)
    length = max(stop - start, min(MIN_SIDE, limit))
    start = min(max(start - (length - (stop - start)) // 2, 0), limit - length)
    return start, start + length


def find_regions(hole_HW: NDArray[np.bool_]) -> list[Region]:
    """Return disjoint rectangles that together hold every hole, each with a margin of context.

    The margin is half of the longer side of the hole's extent, and at least :data:`MIN_CONTEXT`, as far as the photo
    goes. Regions that would overlap are merged.

    Args:
        hole_HW: (H, W), true in the hole.
    """
    height, width = hole_HW.shape
    regions: list[Region] = []
    for part in _connected_cells(_occupied_cells(hole_HW)):
        rows, columns = slice(part.top * CELL, part.bottom * CELL), slice(part.left * CELL, part.right * CELL)
        ys = np.flatnonzero(hole_HW[rows, columns].any(axis=1)) + rows.start
        xs = np.flatnonzero(hole_HW[rows, columns].any(axis=0)) + columns.start
        top, bottom, left, right = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
        context = max(MIN_CONTEXT, max(bottom - top, right - left) // 2)
        (left, right), (top, bottom) = _grow(left, right, context, width), _grow(top, bottom, context, height)
        new = Region(left, top, right, bottom)
        while touching := [region for region in regions if region.overlaps(new)]:
            for region in touching:
                regions.remove(region)
                new = new.union(region)
        regions.append(new)
    return regions
