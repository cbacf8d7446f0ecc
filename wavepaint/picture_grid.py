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


def make_grid(
    rows: Sequence[Sequence[NDArray[np.uint8]]], titles: Sequence[str], gap: int = 4, row_titles: Sequence[str] = ()
) -> Image.Image:
    """Return rows of equally sized (H, W, 3) uint8 images, ``gap`` pixels apart, under a line of column titles.

    Each row gets a line above it with its title, if ``row_titles`` are given. Titles are ASCII.
    """
    height, width = rows[0][0].shape[:2]
    header = 18
    row_height = height + gap + (header if row_titles else 0)
    canvas = Image.new(
        "RGB", (len(titles) * (width + gap) - gap, header + len(rows) * row_height - gap), (255, 255, 255)
    )
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((column * (width + gap) + 2, 2), title, fill=(0, 0, 0))
    for y, row in enumerate(rows):
        bottom = header + (y + 1) * row_height - gap
        if row_titles:
            draw.text((2, bottom - height - header + 2), row_titles[y], fill=(0, 0, 0))
        for x, image in enumerate(row):
            canvas.paste(Image.fromarray(image), (x * (width + gap), bottom - height))
    return canvas
