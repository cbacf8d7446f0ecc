"""Fine detail for a fill that was made at a lower resolution.

A fill that is scaled up looks blurred beside a sharp photo. At its own resolution, however, it shows where its texture
comes from. Where the fill's detail resembles that of known pixels at some distance, the full-resolution detail that
those pixels lost in scaling down is added to the fill. A gate, found by least squares for each place, says how much of
it is added. A fill that resembles nothing at these distances stays as it is.

Idea: Z. Yi et al., "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting" (2020), whose network
chooses the source of residuals by its attention.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.runtime.filling.morphology import erode
from wavepaint.runtime.filling.regions import Region, find_bounds
from wavepaint.runtime.filling.scale import Bool, Float, to_float, upscale
from wavepaint.runtime.images.arrays import Levels

DISTANCES = (24, 48, 80, 128)
"""Distances, in pixels of the fill, at which detail is looked for; networks that borrow texture use the same ones."""

_DIRECTIONS = (((0, 1), (0, -1)), ((1, 0), (-1, 0)))
"""Directions (down, right) of the first and the second set of shifts, as in networks that borrow texture."""

_SHIFTS = tuple([(distance * down, distance * right) for distance in DISTANCES for down, right in pair]
                for pair in _DIRECTIONS)  # fmt: skip

_FARTHEST = DISTANCES[-1]
_NO_SHIFT = -1

_DETAIL_RADIUS = 2
"""Detail is the difference from the mean over this radius in pixels. Radii of 1 and 4 did as well on photos."""

_WINDOW_RADIUS = 12
"""Radius in pixels of the window over which gates are found. On ten photos with holes of 400 to 450 pixels, radii of
3, 6 and 12 were within half a percent of LPIPS."""

_NOISE = (1 / 255) ** 2
"""Mean square of detail that is too weak to distinguish from noise: one level of 8 bits."""


class CoarseFill:
    """A fill made at a lower resolution, rendered at the full one. Windows are in pixels of the full resolution.

    Args:
        levels_HWC: The photo or a part of it; pixels in the hole are ignored.
        hole_HW: Its hole.
        fill_HWC: The network's fill of the photo scaled down by :func:`~wavepaint.runtime.filling.scale.downscale`:
            float32 in [0, 1], known pixels unchanged.
        small_hole_HW: The hole at the lower resolution.
        factor: Factor by which the photo was scaled down.
    """

    def __init__(self, levels_HWC: Levels, hole_HW: Bool, fill_HWC: Float, small_hole_HW: Bool, factor: int) -> None:
        self._levels, self._hole, self._fill, self._factor = levels_HWC, hole_HW, fill_HWC, factor
        # Pixels of the hole also lie in neighbouring cells that are less than half hole.
        near = ~erode(~small_hole_HW, 2)
        self._choices = [_choose_shifts(small_hole_HW, near, shifts) for shifts in _SHIFTS]
        self._gates = _find_gates(fill_HWC, small_hole_HW, near, self._choices)

    def render(self, window: Region) -> Float:
        """Return the fill with its detail: (H, W, C) float32, which may leave [0, 1] slightly."""
        return self.upscale_fill(window) + self.find_detail(window)

    def upscale_fill(self, window: Region) -> Float:
        """Return the fill scaled up, without detail: (H, W, C) float32."""
        return upscale(self._fill, self._factor, window)

    def find_detail(self, window: Region) -> Float:
        """Return the detail to add to the pixels of the hole: (H, W, C) float32, 0 where none was found."""
        total = np.zeros((window.height, window.width, self._levels.shape[2]), np.float32)
        rows = np.arange(window.top, window.bottom) // self._factor
        columns = np.arange(window.left, window.right) // self._factor
        gates = upscale(self._gates, self._factor, window).clip(0, 1)
        hole = self._hole[window.slices]
        for index, (choice, shifts) in enumerate(zip(self._choices, _SHIFTS, strict=True)):
            chosen = np.where(hole, choice[np.ix_(rows, columns)], _NO_SHIFT)
            for number, (down, right) in enumerate(shifts):
                taken = chosen == number
                if taken.any():
                    box = find_bounds(taken)
                    gate = (taken * gates[..., index])[box.slices][..., None]
                    source = box.move(window.top + down * self._factor, window.left + right * self._factor)
                    total[box.slices] += gate * self._find_lost_detail(source)
        return total

    def _find_lost_detail(self, window: Region) -> Float:
        """Return the detail that known pixels lost in scaling down; 0 in the hole and beyond the borders."""
        height, width = self._hole.shape
        inner = Region(max(window.left, 0), max(window.top, 0), min(window.right, width), min(window.bottom, height))
        lost = np.zeros((window.height, window.width, self._levels.shape[2]), np.float32)
        if inner.width > 0 and inner.height > 0:
            part = inner.move(-window.top, -window.left).slices
            lost[part] = to_float(self._levels[inner.slices]) - self.upscale_fill(inner)
            lost[part] *= ~self._hole[inner.slices][..., None]
        return lost


def _shift(padded: NDArray[Any], shift: tuple[int, int], box: Region) -> NDArray[Any]:
    """Return the values at an offset from the pixels of a box; ``padded`` comes from :func:`_pad`."""
    return padded[box.move(_FARTHEST + shift[0], _FARTHEST + shift[1]).slices]


def _pad(values: NDArray[Any], fill: float) -> NDArray[Any]:
    """Add a margin as wide as the largest shift."""
    margin = (_FARTHEST, _FARTHEST)
    return np.pad(values, (margin, margin, *((0, 0),) * (values.ndim - 2)), constant_values=fill)


def _choose_shifts(hole_HW: Bool, near_HW: Bool, shifts: Sequence[tuple[int, int]]) -> NDArray[np.int8]:
    """Return the index of the first shift that leads to a known pixel, (H, W); -1 for none, and far from the hole."""
    choice = np.full(hole_HW.shape, _NO_SHIFT, np.int8)
    holes, whole = _pad(hole_HW, True), Region(0, 0, hole_HW.shape[1], hole_HW.shape[0])
    missing = near_HW.copy()
    for number, shift in enumerate(shifts):
        taken = missing & ~_shift(holes, shift, whole)
        choice[taken] = number
        missing &= ~taken
    return choice


def _find_gates(fill_HWC: Float, hole_HW: Bool, near_HW: Bool, choices: Sequence[NDArray[np.int8]]) -> Float:
    """Return how much of each shifted detail the fill's own detail contains: (H, W, number of choices).

    Solves least squares over the hole's pixels in a window, regularised towards 0 where detail is weak.
    """
    gates = np.zeros((*hole_HW.shape, len(choices)), np.float32)
    if not near_HW.any():
        return gates
    box = find_bounds(near_HW)
    inside = hole_HW[box.slices][..., None]
    detail = fill_HWC - _average_around(fill_HWC, _DETAIL_RADIUS)
    own, padded = detail[box.slices] * inside, _pad(detail, 0)
    shifted_details = []
    for choice, shifts in zip(choices, _SHIFTS, strict=True):
        shifted = np.zeros_like(own)
        for number, shift in enumerate(shifts):
            taken = (choice[box.slices] == number)[..., None] & inside
            shifted += np.where(taken, _shift(padded, shift, box), 0)
        shifted_details.append(shifted)

    def correlate(a: Float, b: Float) -> Float:
        return _sum_around((a * b).mean(axis=2, keepdims=True), _WINDOW_RADIUS)[..., 0]

    noise = _NOISE * (1 + _sum_around(inside.astype(np.float32), _WINDOW_RADIUS)[..., 0])
    gram = np.stack([np.stack([correlate(a, b) for a in shifted_details], axis=2) for b in shifted_details], axis=3)
    gram += noise[..., None, None] * np.eye(len(shifted_details), dtype=np.float32)
    target = np.stack([correlate(own, shifted) for shifted in shifted_details], axis=2)
    solved = np.linalg.solve(gram, target[..., None])[..., 0]
    gates[box.slices] = solved.clip(0, 1) * near_HW[box.slices][..., None]
    return gates


def _sum_around(values_HWC: Float, radius: int) -> Float:
    """Return sums over squares of ``2 * radius + 1`` pixels; values beyond the borders are 0."""
    for axis in (0, 1):
        pads = [(0, 0)] * values_HWC.ndim
        pads[axis] = (radius + 1, radius)
        sums = np.pad(values_HWC.astype(np.float64), pads).cumsum(axis=axis)
        upper, lower = [slice(None)] * values_HWC.ndim, [slice(None)] * values_HWC.ndim
        upper[axis], lower[axis] = slice(2 * radius + 1, None), slice(None, -2 * radius - 1)
        values_HWC = (sums[tuple(upper)] - sums[tuple(lower)]).astype(np.float32)
    return values_HWC


def _average_around(values_HWC: Float, radius: int) -> Float:
    """Return means over squares of ``2 * radius + 1`` pixels; pixels beyond the borders do not count."""
    counts = _sum_around(np.ones((*values_HWC.shape[:2], 1), np.float32), radius)
    return _sum_around(values_HWC, radius) / counts
