"""Masks of the LaMa follow-up: large boxes, and chains of broad strokes.

Sizes are pixels of a 256-pixel image.

Source: G. Baker and Y. Cho, "Improvement on Image inpainting with Fourier Convolutions", a student project of 2021;
``gen_large_mask_v2`` in ``data.py`` of nuniniyujin/lama_inpainting@51ded42. Each mask has boxes or a chain there,
equally likely. The code means to reject boxes that cover more than half of the image, but never does.
"""

import math

import numpy as np
from PIL import ImageDraw

from wavepaint.data.lama_masks import BoxSettings, draw_boxes, draw_segment

BOXES = BoxSettings(min_boxes=1, max_boxes=3, min_side=50, max_side=149, margin=10)
"""The source draws a side as int(uniform(50, 150))."""

# Exclusive upper bounds, for the same reason.
NUM_SEGMENTS = (1, 4)
SEGMENT_LENGTH = (10, 150)
SEGMENT_WIDTH = (5, 70)


def draw_large_boxes(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw 1 to 3 boxes with sides of 50 to 149 pixels, 10 pixels or more from the border."""
    draw_boxes(draw, size, BOXES, rng)


def draw_chain(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw one chain of 1 to 3 segments in any direction. One that leaves the image is bent to end at its border."""
    width, height = size
    x, y = int(rng.integers(width)), int(rng.integers(height))
    for _ in range(rng.integers(*NUM_SEGMENTS)):
        angle = rng.uniform(0, math.tau)
        length, brush = int(rng.integers(*SEGMENT_LENGTH)), int(rng.integers(*SEGMENT_WIDTH))
        end_x = min(max(int(x + length * math.sin(angle)), 0), width)
        end_y = min(max(int(y + length * math.cos(angle)), 0), height)
        draw_segment(draw, (x, y), (end_x, end_y), brush)
        x, y = end_x, end_y
