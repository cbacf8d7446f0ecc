"""LaMa's mask generators.

LaMa trains with one generator and measures with three others. ``lama-training`` is the training generator: thick
strokes or boxes, equally likely, that may hide any share of the photo. ``thin``, ``medium`` and ``thick`` are the test
sets, which hide at most half of a photo.

Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (arXiv 2109.07161),
section 3.3, and advimman/lama@786f593: ``saicinpainting/training/data/masks.py``, ``bin/gen_mask_dataset.py`` and the
configurations that ``wavepaint.data.masks.GENERATORS`` names.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

LamaKind = Literal["thin", "medium", "thick", "lama-training"]


@dataclass(frozen=True, kw_only=True)
class StrokeSettings:
    """Poly-line strokes. Counts are inclusive ranges; widths and lengths are exclusive upper bounds in pixels."""

    min_strokes: int
    max_strokes: int
    max_width: int
    max_length: int
    max_angle: int = 4
    min_width: int = 5
    min_length: int = 10
    max_segments: int = 5


@dataclass(frozen=True, kw_only=True)
class BoxSettings:
    """Axis-parallel boxes. Counts are inclusive; sides and the margin to the border are in pixels."""

    min_boxes: int
    max_boxes: int
    min_side: int
    max_side: int
    margin: int


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """A mask consists either of strokes, with weight 1, or of boxes, with ``box_weight``."""

    strokes: StrokeSettings
    boxes: BoxSettings | None = None
    box_weight: float = 0.0

    @property
    def box_share(self) -> float:
        """Share of masks with boxes. LaMa's weights do not sum to 1; its generator divides by their sum."""
        return self.box_weight / (1 + self.box_weight)


# LaMa's generator may draw one stroke more than ``max_times`` of its configurations, but no extra box.
SETTINGS: dict[LamaKind, MaskSettings] = {
    "thin": MaskSettings(strokes=StrokeSettings(min_strokes=4, max_strokes=51, max_width=10, max_length=40)),
    "medium": MaskSettings(
        strokes=StrokeSettings(min_strokes=4, max_strokes=6, max_width=50, max_length=100),
        boxes=BoxSettings(min_boxes=1, max_boxes=5, min_side=10, max_side=50, margin=0),
        box_weight=0.3,
    ),
    "thick": MaskSettings(
        strokes=StrokeSettings(min_strokes=1, max_strokes=6, max_width=100, max_length=200),
        boxes=BoxSettings(min_boxes=1, max_boxes=3, min_side=30, max_side=150, margin=10),
        box_weight=0.3,
    ),
    "lama-training": MaskSettings(
        strokes=StrokeSettings(min_strokes=1, max_strokes=6, max_width=100, max_length=200),
        boxes=BoxSettings(min_boxes=1, max_boxes=4, min_side=30, max_side=150, margin=10),
        box_weight=1.0,
    ),
}


@cache
def _disc(radius: int) -> Image.Image:
    offsets = np.arange(-radius, radius + 1)
    return Image.fromarray((offsets[:, None] ** 2 + offsets**2 <= radius**2) * np.uint8(255))


def draw_segment(draw: ImageDraw.ImageDraw, start: tuple[int, int], end: tuple[int, int], brush: int) -> None:
    """Draw a line of value 1 as OpenCV does, whose lines of width 5 or 6 span 7 pixels and have round ends."""
    radius = (brush + 1) // 2
    draw.line([start, end], fill=1, width=2 * radius + 1)
    for x, y in (start, end):
        draw.bitmap((x - radius, y - radius), _disc(radius), fill=1)


def _draw_strokes(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], s: StrokeSettings, rng: np.random.Generator
) -> None:
    width, height = size
    for stroke in range(rng.integers(s.min_strokes, s.max_strokes + 1)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        for _ in range(rng.integers(1, s.max_segments + 1)):
            angle = 0.01 + int(rng.integers(s.max_angle))
            if stroke % 2 == 0:
                angle = 2 * math.pi - angle
            length = s.min_length + int(rng.integers(s.max_length))
            brush = s.min_width + int(rng.integers(s.max_width))
            end_x = int(min(max(x + length * math.sin(angle), 0), width))
            end_y = int(min(max(y + length * math.cos(angle), 0), height))
            draw_segment(draw, (x, y), (end_x, end_y), brush)
            x, y = end_x, end_y


def draw_boxes(draw: ImageDraw.ImageDraw, size: tuple[int, int], s: BoxSettings, rng: np.random.Generator) -> None:
    """Draw boxes of value 1. Those that do not fit into the image become smaller."""
    longest = max(min(s.max_side, min(size) - 2 * s.margin - 1), 1)
    for _ in range(rng.integers(s.min_boxes, s.max_boxes + 1)):
        sides = [int(side) for side in rng.integers(min(s.min_side, longest), longest + 1, 2)]
        starts = []
        for extent, side in zip(size, sides, strict=True):
            first = min(s.margin, extent - side)
            starts.append(int(rng.integers(first, max(extent - s.margin - side, first) + 1)))
        draw.rectangle([*starts, starts[0] + sides[0] - 1, starts[1] + sides[1] - 1], fill=1)


def draw_lama_mask(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator, *, settings: MaskSettings
) -> None:
    """Draw holes of value 1 on an empty canvas of (width, height) pixels."""
    if settings.boxes is not None and rng.random() < settings.box_share:
        draw_boxes(draw, size, settings.boxes, rng)
    else:
        _draw_strokes(draw, size, settings.strokes, rng)
