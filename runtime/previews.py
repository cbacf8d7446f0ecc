"""Pictures of a fill: the photo with its hole tinted, and photo, hole and result side by side."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.picture_grid import HOLE_COLOUR, make_grid, mark_hole
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.images.encode import write_photo
from wavepaint.runtime.images.photo import Photo

PANEL_SIDE = 1280
"""Longest side of each picture in a comparison, in pixels; larger photos are scaled down."""


def as_rgb(photo: Photo) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8, with transparent parts on white."""
    shift = 8 * (photo.pixels.dtype.itemsize - 1)
    levels: NDArray[np.uint8] = (photo.pixels >> shift).astype(np.uint8)
    colours = np.repeat(levels[..., :1], 3, axis=2) if photo.num_colours == 1 else levels[..., :3]
    if not photo.has_alpha:
        return colours
    alpha = levels[..., -1:].astype(np.uint16)
    return ((colours * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)


def make_overlay(photo: Photo, hole_HW: Bool) -> Image.Image:
    """Return the photo as 8-bit RGB with the hole tinted."""
    pixels = as_rgb(photo).copy()
    pixels[hole_HW] = (pixels[hole_HW] // 3) + (np.array(HOLE_COLOUR, np.uint16) * 2 // 3).astype(np.uint8)
    return Image.fromarray(pixels)


def make_comparison(photo: Photo, hole_HW: Bool, filled: Photo) -> Image.Image:
    """Return photo, hole and result side by side, each at most :data:`PANEL_SIDE` pixels a side."""
    before = as_rgb(photo)
    panels = []
    for pixels in (before, mark_hole(before, hole_HW), as_rgb(filled)):
        panel = Image.fromarray(pixels)
        panel.thumbnail((PANEL_SIDE, PANEL_SIDE), Image.Resampling.BICUBIC)
        panels.append(np.asarray(panel))
    return make_grid([panels], ["photo", "hole", "result"])


def write_pictures(
    photo: Photo,
    hole_HW: Bool,
    filled: Photo,
    overlay: Path | None,
    comparison: Path | None,
) -> None:
    """Write the pictures that have a path, and replace existing files.

    Args:
        photo: The photo.
        hole_HW: The hole that was filled, (H, W), true in the hole.
        filled: The result.
        overlay: Path of the photo with its hole tinted.
        comparison: Path of photo, hole and result side by side.

    Raises:
        OutputError: A file cannot be written.
    """
    if overlay is not None:
        write_photo(Photo(pixels=np.asarray(make_overlay(photo, hole_HW))), overlay, overwrite=True)
    if comparison is not None:
        write_photo(Photo(pixels=np.asarray(make_comparison(photo, hole_HW, filled))), comparison, overwrite=True)
