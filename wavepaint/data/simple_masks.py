"""Holes in the shape of squares, boxes and polygons.

Each function draws with value 1 on an empty canvas of (width, height) pixels.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw

PAPER_BOX_SIDES = (8, 12)
"""Pixels in images of 96x96. Source: "Resource-efficient Image Inpainting" (ICLR 2023 Tiny Papers), appendix B, tables
2 and 3."""

# The source of the recipe lama-wgan trains with "square masks" and "square masks and polygonal masks" at 256 pixels,
# but states neither their number nor their size. These values are this project's, as shares of the shorter side; the
# sizes lie between LaMa's medium and thick boxes.
MAX_SQUARES = 3
SQUARE_SHARES = (1 / 8, 3 / 8)
MAX_POLYGONS = 3
POLYGON_RADIUS_SHARES = (1 / 16, 1 / 4)
POLYGON_CORNERS = (3, 10)
"""Smallest and largest number."""


def _draw_square(draw: ImageDraw.ImageDraw, size: tuple[int, int], side: int, rng: np.random.Generator) -> None:
    left, top = (int(rng.integers(max(extent - side, 0) + 1)) for extent in size)
    draw.rectangle([left, top, left + side - 1, top + side - 1], fill=1)


def draw_squares(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw 1 to 3 squares, entirely inside the image."""
    low, high = (max(round(share * min(size)), 1) for share in SQUARE_SHARES)
    for _ in range(rng.integers(1, MAX_SQUARES + 1)):
        _draw_square(draw, size, int(rng.integers(low, high + 1)), rng)


def draw_paper_box(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    rng: np.random.Generator,
    sides: Sequence[int] = PAPER_BOX_SIDES,
) -> None:
    """Draw one square box with one of the sides, entirely inside the image.

    The paper states the sizes ("mask size of 8x8") and shows one box per image, but not how it is placed.
    """
    _draw_square(draw, size, int(rng.choice(sides)), rng)


def draw_polygons(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw 1 to 3 polygons with 3 to 10 corners. Their centres lie inside the image; their edges may leave it."""
    low, high = (share * min(size) for share in POLYGON_RADIUS_SHARES)
    for _ in range(rng.integers(1, MAX_POLYGONS + 1)):
        corners = int(rng.integers(POLYGON_CORNERS[0], POLYGON_CORNERS[1] + 1))
        radius = rng.uniform(low, high)
        # Corners are sorted by angle and less than half a turn apart, so edges never cross.
        angles = 2 * math.pi * (np.arange(corners) + rng.uniform(0, 0.5, corners)) / corners + rng.uniform(0, math.tau)
        radii = radius * rng.uniform(0.5, 1, corners)
        x = rng.uniform(0, size[0]) + radii * np.cos(angles)
        y = rng.uniform(0, size[1]) + radii * np.sin(angles)
        draw.polygon([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=1)
