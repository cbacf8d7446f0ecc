"""Grow holes, erode masks, and soften the edges of fills."""

import numpy as np
from wavepaint.runtime.filling.regions import MIN_CONTEXT, Region, find_regions
from wavepaint.runtime.filling.scale import Bool, Float, to_float
from wavepaint.runtime.images.arrays import Levels

MAX_GROWTH = MIN_CONTEXT
"""Largest number of pixels to grow a hole or to soften its edge: the smallest margin of a region."""


def _erode_once(marked_HW: Bool, diagonals: bool) -> Bool:
    """Return the pixels marked together with all 4 (8) neighbours; pixels beyond the borders count as marked."""
    eroded = marked_HW.copy()
    eroded[1:] &= marked_HW[:-1]
    eroded[:-1] &= marked_HW[1:]
    source = eroded.copy() if diagonals else marked_HW
    eroded[:, 1:] &= source[:, :-1]
    eroded[:, :-1] &= source[:, 1:]
    return eroded


def erode(marked_HW: Bool, distance: int) -> Bool:
    """Return the pixels farther than ``distance`` from every unmarked one; beyond the borders all counts as marked.

    Crosses and squares alternate, so distances are those of an octagon: in some directions it reaches 12 % farther.
    """
    for step in range(distance):
        marked_HW = _erode_once(marked_HW, diagonals=step % 2 == 1)
    return marked_HW


def grow_hole(hole_HW: Bool, distance: int) -> Bool:
    """Return the hole with every pixel within ``distance`` of it, by the distances of :func:`erode`.

    Args:
        hole_HW: (H, W), true in the hole.
        distance: 0 to :data:`MAX_GROWTH` pixels.
    """
    grown = hole_HW.copy()
    if distance:
        for region in find_regions(hole_HW):
            grown[region.slices] = ~erode(~hole_HW[region.slices], distance)
    return grown


def soften_edge(
    fill_HWC: Float, levels_HWC: Levels, hole_HW: Bool, valid_HW: Bool, window: Region, depth: int
) -> Float:
    """Blend a fill into the photo within the ring by which the hole was grown.

    The result is the photo at the edge of the grown hole and the fill ``depth`` pixels inside it. Where the photo is
    not valid, the result is the fill.

    Args:
        fill_HWC: The fill of the window, float32 in [0, 1].
        levels_HWC: The whole photo, uint8 or uint16; pixels that are not valid are ignored.
        hole_HW: The whole mask, true where the fill goes.
        valid_HW: True where the photo may be used.
        window: The part to blend.
        depth: Width of the transition in pixels, up to :data:`MAX_GROWTH`.
    """
    valid = valid_HW[window.slices][..., None]
    if not valid.any():
        return fill_HWC
    height, width = hole_HW.shape
    halo = Region(
        max(window.left - depth, 0),
        max(window.top - depth, 0),
        min(window.right + depth, width),
        min(window.bottom + depth, height),
    )
    remaining = hole_HW[halo.slices]
    weight = remaining.astype(np.float32)
    for step in range(depth):
        remaining = _erode_once(remaining, diagonals=step % 2 == 1)
        weight += remaining
    weight = (weight[window.move(-halo.top, -halo.left).slices] / np.float32(depth + 1))[..., None]
    blended = weight * fill_HWC + (1 - weight) * to_float(levels_HWC[window.slices])
    return np.where(valid, blended, fill_HWC)
