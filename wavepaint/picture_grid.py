"""Grids of images, for comparing results side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

HOLE_COLOUR = (255, 0, 160)
"""A colour that is rare in photos, so that a hole is never mistaken for part of the image."""


def mark_hole(image_HWC: NDArray[np.uint8], mask_HW: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) uint8 with the hole painted in :data:`HOLE_COLOUR`."""
    return np.where(mask_HW.astype(bool)[..., None], np.array(HOLE_COLOUR, np.uint8), image_HWC).astype(np.uint8)


def make_grid(rows: Sequence[Sequence[NDArray[np.uint8]]], titles: Sequence[str], gap: int = 4) -> Image.Image:
    """Return rows of equally sized (H, W, 3) uint8 images, ``gap`` pixels apart, under a line of column titles."""
    height, width = rows[0][0].shape[:2]
    header = 18
    canvas = Image.new(
        "RGB", (len(titles) * (width + gap) - gap, header + len(rows) * (height + gap) - gap), (255, 255, 255)
    )
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((column * (width + gap) + 2, 2), title, fill=(0, 0, 0))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            canvas.paste(Image.fromarray(image), (x * (width + gap), header + y * (height + gap)))
    return canvas
