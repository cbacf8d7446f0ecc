"""Lines joined: which straight edges that a hole interrupts does a fill continue?

Straight edges are found in the photograph, so that the fill is asked only for edges that were there:

1. Luma, smoothed; its gradient; edge pixels are maxima along the gradient above 0.03 per pixel (J. Canny, "A
   Computational Approach to Edge Detection", 1986).
2. A Hough transform in which each edge pixel votes only for lines across its own gradient (R. Duda and P. Hart, "Use of
   the Hough Transformation to Detect Lines and Curves in Pictures", 1972; F. O'Gorman and M. Clowes, "Finding Picture
   Edges Through Collinearity of Feature Points", 1976). Dark-to-bright and bright-to-dark edges are different lines.
3. The edge pixels of each peak, split at gaps, and fitted again.

A line counts if it runs through the hole for at least 8 pixels and reaches at least 8 pixels into the known part at
both ends. The measure is this project's. Along the line, in the fill, g(t) is the largest gradient across the line
within 2 pixels to its sides, averaged over 5 pixels along it, and 0 where the averaged gradient points more than 22.5
degrees away from the line's normal. With c the smaller median of g at both ends, in the photograph,

    continued = |{t in hole : g(t) >= c / 2}| / |{t in hole}|,        joined = continued >= 0.8

Only lines that the photograph itself joins are counted: its own score is 1 by construction. A smooth fill scores near
0, because its gradient across the line falls with the distance to the hole's border, and so does a texture, whose
gradients point anywhere.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavepaint.metrics.luma import Map, average_window, check_fill, make_luma

MIN_GRADIENT = 0.03
"""Per pixel, of the luma in [0, 1] after smoothing; a step of a tenth of the range has about this gradient."""
MIN_CROSSING, MIN_END = 8, 8
"""Pixels of a line inside the hole, and in the known part at each end."""
MIN_LENGTH = MIN_CROSSING + 2 * MIN_END
CONTRAST, LENGTH = 0.5, 0.8
"""Least share of the contrast at the ends, and of the length inside the hole, that a joined line has."""
MAX_OFFSET, AVERAGED, MAX_TURN = 2, 5, math.radians(22.5)
"""Pixels to either side of a line, pixels along it, and the angle to its normal."""
MAX_LINES = 1000

_BINS = 180
"""Directions of a gradient, 2 degrees apart."""
_SPREAD = 2
"""Bins to either side for which an edge pixel votes."""
_WIDTH, _TOLERANCE, _GAP = 1.5, math.radians(15), 4
"""An edge pixel's largest distance from its line in pixels, angle to its normal, and distance to the next."""
_CLEARED = 2.5
"""Pixels to either side of a line that was found, where no second line of the same direction is sought."""


class Line(NamedTuple):
    """A straight edge: its ends (row, column), and the unit normal towards its brighter side."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    normal: NDArray[np.float64]

    @property
    def length(self) -> float:
        """Length in pixels."""
        return float(np.hypot(*(self.end - self.start)))

    def covers(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether each point (K, 2) lies between the ends, to either side of the line."""
        along = (points - self.start) @ (self.end - self.start) / self.length**2
        between: NDArray[np.bool_] = (along >= 0) & (along <= 1)
        return between


class LineScore(NamedTuple):
    """Lines that cross the hole, how many of them are joined, and the share of their length that is continued, summed.

    Scores of several photographs add up field by field.
    """

    num_lines: int
    num_joined: int
    sum_continued: float


def _make_gradient(image_HW3: NDArray[Any]) -> tuple[Map, Map]:
    """Return the gradient of the smoothed luma: down and right."""
    smooth = average_window(average_window(make_luma(image_HW3), 3), 3)
    return np.gradient(smooth, axis=0), np.gradient(smooth, axis=1)


def _find_edges(down: Map, right: Map) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edge pixels (K, 2), row and column, and the direction of the gradient there, in radians."""
    size = np.pad(np.hypot(down, right), 1)
    angle = np.arctan2(down, right)
    # Maxima along the gradient, with its direction rounded to 45 degrees.
    octant = np.round(angle / (math.pi / 4)).astype(int) % 4
    edge = size[1:-1, 1:-1] >= MIN_GRADIENT
    for index, (i, j) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = size[1 + i : size.shape[0] - 1 + i, 1 + j : size.shape[1] - 1 + j]
        behind = size[1 - i : size.shape[0] - 1 - i, 1 - j : size.shape[1] - 1 - j]
        own = size[1:-1, 1:-1]
        edge &= (octant != index) | ((own >= ahead) & (own > behind))
    return np.argwhere(edge).astype(np.float64), angle[edge].astype(np.float64)


class _Votes:
    """The Hough transform's table: votes for each direction of the gradient and distance from the origin."""

    def __init__(self, points: NDArray[np.float64], angles: NDArray[np.float64], diagonal: int) -> None:
        own = np.round(angles * _BINS / math.tau).astype(int)
        bins = (own[:, None] + np.arange(-_SPREAD, _SPREAD + 1)) % _BINS
        turn = bins * (math.tau / _BINS)
        distance = points[:, :1] * np.sin(turn) + points[:, 1:] * np.cos(turn)
        self.diagonal = diagonal
        self.cells = bins * (2 * diagonal + 1) + np.round(distance).astype(int) + diagonal
        self.table = self._count(self.cells)

    def _count(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.bincount(cells.reshape(-1), minlength=_BINS * (2 * self.diagonal + 1))

    def find_peak(self) -> tuple[int, float, float]:
        """Return the votes of the strongest line, the direction of its gradient and its distance from the origin."""
        cell = int(self.table.argmax())
        direction, distance = divmod(cell, 2 * self.diagonal + 1)
        votes = int(self.table[cell])
        self.table[cell] = 0
        return votes, direction * math.tau / _BINS, distance - self.diagonal

    def remove(self, chosen: NDArray[np.bool_]) -> None:
        self.table -= self._count(self.cells[chosen])


def find_lines(image_HW3: NDArray[Any], min_length: float = MIN_LENGTH) -> list[Line]:
    """Find straight edges.

    Args:
        image_HW3: (H, W, 3): uint8, or floating-point in [0, 1].
        min_length: Pixels.

    Returns:
        At most 1000 lines, roughly from the longest to the shortest, the same in every run.
    """
    points, angles = _find_edges(*_make_gradient(image_HW3))
    votes = _Votes(points, angles, math.ceil(math.hypot(*image_HW3.shape[:2])) + 1)
    free = np.ones(len(points), bool)
    lines: list[Line] = []
    while len(lines) < MAX_LINES:
        count, direction, distance = votes.find_peak()
        if count < min_length / 2:
            break
        normal = np.array((math.sin(direction), math.cos(direction)))
        turned = np.abs((angles - direction + math.pi) % math.tau - math.pi)
        close = np.flatnonzero(free & (np.abs(points @ normal - distance) <= _WIDTH) & (turned <= _TOLERANCE))
        along = points[close] @ np.array((-normal[1], normal[0]))
        order = np.argsort(along, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(along[order]) > _GAP) + 1):
            if len(part) and along[part[-1]] - along[part[0]] >= min_length:
                line = _fit_line(points[close[part]], normal)
                lines.append(line)
                # An edge may be two pixels wide. What is left beside the line would be found as a second one.
                beside = free & (np.abs((points - line.start) @ line.normal) <= _CLEARED) & (turned <= _TOLERANCE)
                beside[beside] = line.covers(points[beside])
                beside[close[part]] = True
                votes.remove(beside)
                free &= ~beside
    return lines


def _fit_line(points: NDArray[np.float64], normal: NDArray[np.float64]) -> Line:
    """Fit a line to edge pixels by total least squares."""
    centre = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - centre, full_matrices=False)
    along, across = axes
    along_each = (points - centre) @ along
    return Line(centre + along_each.min() * along, centre + along_each.max() * along, across * np.sign(across @ normal))


def _find_crossings(inside: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each stretch in the hole that has long enough ends in the known part."""
    changes = np.flatnonzero(np.diff(inside.astype(np.int8))) + 1
    bounds = [0, *changes.tolist(), len(inside)]
    for before, start, end, after in zip(bounds, bounds[1:], bounds[2:], bounds[3:], strict=False):
        if inside[start] and end - start >= MIN_CROSSING and min(start - before, after - end) >= MIN_END:
            yield start, end


def _sample(values: Map, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate bilinearly; beyond the border the nearest pixel counts."""
    rows, columns = rows.clip(0, values.shape[0] - 1), columns.clip(0, values.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom, right = np.minimum(top + 1, values.shape[0] - 1), np.minimum(left + 1, values.shape[1] - 1)
    down, across = rows - top, columns - left
    above = values[top, left] * (1 - across) + values[top, right] * across
    below = values[bottom, left] * (1 - across) + values[bottom, right] * across
    sampled: NDArray[np.float64] = above * (1 - down) + below * down
    return sampled


def _follow(gradient: tuple[Map, Map], line: Line, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gradient across a line, per pixel of its length (see g in the module's description)."""
    along = (line.end - line.start) / line.length
    offsets = np.arange(-MAX_OFFSET, MAX_OFFSET + 1)
    rows, columns = (line.start[axis] + steps[:, None] * along[axis] + offsets * line.normal[axis] for axis in (0, 1))
    sampled = [_sample(part, rows, columns) for part in gradient]
    padded = [np.pad(part, ((AVERAGED // 2, AVERAGED // 2), (0, 0)), mode="edge") for part in sampled]
    down, right = (sum(part[i : i + len(steps)] for i in range(AVERAGED)) / AVERAGED for part in padded)
    across = down * line.normal[0] + right * line.normal[1]
    strength: NDArray[np.float64] = np.where(across >= math.cos(MAX_TURN) * np.hypot(down, right), across, 0)
    largest: NDArray[np.float64] = strength.max(axis=1)
    return largest


def measure_lines(truth_HW3: NDArray[Any], filled_HW3: NDArray[Any], mask_HW: NDArray[Any]) -> LineScore:
    """Measure how many of the photograph's straight edges that cross the hole are continued.

    Args:
        truth_HW3: The photograph, (H, W, 3): uint8, or floating-point in [0, 1].
        filled_HW3: The same with the hole filled.
        mask_HW: (H, W), nonzero in the hole.

    Raises:
        ImageError: The arrays do not fit together.
    """
    check_fill(truth_HW3, filled_HW3, mask_HW)
    gradients = [_make_gradient(image) for image in (truth_HW3, filled_HW3)]
    continued: list[float] = []
    for line in find_lines(truth_HW3):
        steps = np.arange(math.floor(line.length) + 1, dtype=np.float64)
        at = line.start + steps[:, None] * (line.end - line.start) / line.length
        at = at.round().astype(int).clip(0, np.array(mask_HW.shape) - 1)  # the fit may leave the image by a pixel
        inside = mask_HW[at[:, 0], at[:, 1]] != 0
        crossings = list(_find_crossings(inside))
        if not crossings:
            continue
        own, fill = (_follow(gradient, line, steps) for gradient in gradients)
        for start, end in crossings:
            contrast = min(np.median(own[start - MIN_END : start]), np.median(own[end : end + MIN_END]))
            of_own, of_fill = (float(np.mean(g[start:end] >= CONTRAST * contrast)) for g in (own, fill))
            if contrast > 0 and of_own >= LENGTH:
                continued.append(of_fill)
    return LineScore(len(continued), sum(share >= LENGTH for share in continued), sum(continued))
