"""Random hole masks: LaMa's thin, medium and thick generators.

Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (arXiv 2109.07161),
section 3.3 and the settings of its training configurations at 256 pixels. Widths and lengths are in pixels and are
not scaled with the image: a 512-pixel image gets the same strokes.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wavepaint.errors import ConfigError

MaskKind = Literal["thin", "medium", "thick"]
MASK_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)

MAX_HOLE_FRACTION = 0.5
"""LaMa rejects masks that cover more than half of the image."""


@dataclass(frozen=True, kw_only=True)
class StrokeSettings:
    """Poly-line strokes: numbers are inclusive ranges, widths and lengths exclusive upper bounds in pixels."""

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
    """Axis-parallel boxes: number inclusive, side lengths and margin to the border in pixels."""

    min_boxes: int
    max_boxes: int
    min_side: int
    max_side: int
    margin: int


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """One mask is either strokes or boxes."""

    strokes: StrokeSettings
    boxes: BoxSettings | None = None
    box_probability: float = 0.0


SETTINGS: dict[MaskKind, MaskSettings] = {
    "thin": MaskSettings(strokes=StrokeSettings(min_strokes=4, max_strokes=50, max_width=10, max_length=40)),
    "medium": MaskSettings(
        strokes=StrokeSettings(min_strokes=4, max_strokes=5, max_width=50, max_length=100),
        boxes=BoxSettings(min_boxes=1, max_boxes=5, min_side=10, max_side=50, margin=0),
        box_probability=0.3,
    ),
    "thick": MaskSettings(
        strokes=StrokeSettings(min_strokes=1, max_strokes=5, max_width=100, max_length=200),
        boxes=BoxSettings(min_boxes=1, max_boxes=3, min_side=30, max_side=150, margin=10),
        box_probability=0.3,
    ),
}


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
            end_x = int(np.clip(x + length * math.sin(angle), 0, width))
            end_y = int(np.clip(y + length * math.cos(angle), 0, height))
            draw.line([(x, y), (end_x, end_y)], fill=1, width=brush)
            for cx, cy in ((x, y), (end_x, end_y)):  # round ends, as a brush has
                r = brush / 2
                draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=1)
            x, y = end_x, end_y


def _draw_boxes(draw: ImageDraw.ImageDraw, size: tuple[int, int], s: BoxSettings, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(s.min_boxes, s.max_boxes + 1)):
        sides, starts = [], []
        for extent in size:
            room = max(extent - 2 * s.margin, 1)
            side = int(rng.integers(min(s.min_side, room), min(s.max_side, room) + 1))
            sides.append(side)
            starts.append(min(s.margin, extent - side) + int(rng.integers(max(room - side, 0) + 1)))
        draw.rectangle([*starts, starts[0] + sides[0] - 1, starts[1] + sides[1] - 1], fill=1)


def random_mask(height: int, width: int, kinds: tuple[MaskKind, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one mask of a kind chosen at random among ``kinds``.

    Returns:
        (height, width) of 0 (known) and 1 (hole). The hole is never empty and covers at most half of the image.

    Raises:
        ConfigError: No kind, an unknown kind, or an image too small to hold a hole (under 2 pixels).
    """
    if not kinds or any(kind not in SETTINGS for kind in kinds):
        raise ConfigError(f"mask kinds are {list(kinds)}: expected one or more of {', '.join(MASK_KINDS)} (--masks).")
    if height * width < 2:
        raise ConfigError(f"a {width}x{height} image is too small for a mask: it needs 2 pixels or more.")
    settings = SETTINGS[kinds[int(rng.integers(len(kinds)))]]
    for _ in range(100):
        canvas = Image.new("L", (width, height))
        draw = ImageDraw.Draw(canvas)
        if settings.boxes is not None and rng.random() < settings.box_probability:
            _draw_boxes(draw, canvas.size, settings.boxes, rng)
        else:
            _draw_strokes(draw, canvas.size, settings.strokes, rng)
        mask = np.array(canvas, dtype=np.uint8)
        if 0 < mask.mean() <= MAX_HOLE_FRACTION:
            return mask
    # On images much smaller than the strokes every draw may cover too much: half of the image is then the hole.
    mask = np.zeros((height, width), dtype=np.uint8)
    if width >= height:
        mask[:, : width // 2] = 1
    else:
        mask[: height // 2] = 1
    return mask
