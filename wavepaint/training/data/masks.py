"""Random hole masks: LaMa's thin, medium and thick generators, and who draws one of several kinds.

Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (arXiv 2109.07161),
section 3.3 and the settings of its training configurations at 256 pixels. Widths and lengths are in pixels and are
not scaled with the image: a 512-pixel image gets the same strokes. The other kinds are in ``mask_shapes`` and
``silhouettes``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wavepaint.errors import ConfigError
from wavepaint.training.data.mask_shapes import draw_paper_box, draw_polygons, draw_squares
from wavepaint.training.data.silhouettes import SilhouetteFolder

MaskKind = Literal["thin", "medium", "thick", "squares", "boxes", "polygons", "silhouettes"]
ALL_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)
MASK_KINDS: tuple[MaskKind, ...] = ("thin", "medium", "thick")
"""LaMa's own, which a recipe takes unless it says otherwise."""

MAX_HOLE_FRACTION = 0.5
"""LaMa rejects masks that cover more than half of the image."""

Draw = Callable[[ImageDraw.ImageDraw, tuple[int, int], np.random.Generator], None]
"""Draws holes of value 1 on an empty canvas of (width, height) pixels."""


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


def _draw_lama(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator, *, settings: MaskSettings
) -> None:
    if settings.boxes is not None and rng.random() < settings.box_probability:
        _draw_boxes(draw, size, settings.boxes, rng)
    else:
        _draw_strokes(draw, size, settings.strokes, rng)


_DRAW: dict[MaskKind, Draw] = {
    **{kind: partial(_draw_lama, settings=settings) for kind, settings in SETTINGS.items()},
    "squares": draw_squares,
    "boxes": draw_paper_box,
    "polygons": draw_polygons,
}


def parse_kind(text: str) -> tuple[MaskKind, float]:
    """Split ``"thin"`` or ``"thin:2"`` into a kind and its weight.

    Raises:
        ConfigError: There is no such kind, or the weight is no number above 0.
    """
    name, colon, number = text.partition(":")
    for kind in ALL_KINDS:
        if kind == name:
            try:
                weight = float(number) if colon else 1.0
            except ValueError:
                weight = 0.0
            if not 0 < weight < math.inf:
                raise ConfigError(f"mask kind {text!r}: expected a weight above 0 after the colon, as in thin:2.")
            return kind, weight
    raise ConfigError(
        f"there are no {text!r} masks: expected one or more of {', '.join(ALL_KINDS)} (--masks; in wp masks --kinds)."
    )


class MaskSampler:
    """Draws masks of several kinds; may be pickled and copied into loader processes.

    Args:
        kinds: Each a kind, drawn with equal probability, or a kind and its weight: ``("thin:2", "medium")``.
        silhouettes: Folder of cut-outs, for the kind "silhouettes".

    Raises:
        ConfigError: No kind, an unknown one, or silhouettes without a usable folder.
    """

    def __init__(self, kinds: Sequence[str], silhouettes: Path | None = None) -> None:
        if not kinds:
            raise ConfigError(
                f"there is no mask kind: expected one or more of {', '.join(ALL_KINDS)} (--masks; in wp masks --kinds)."
            )
        self.kinds, weights = zip(*map(parse_kind, kinds), strict=True)
        self._weights = None if len(set(weights)) == 1 else np.divide(weights, sum(weights))
        self._draw = dict(_DRAW)
        if "silhouettes" in self.kinds:
            if silhouettes is None:
                raise ConfigError(
                    "silhouette masks are drawn from a folder of cut-outs, and none was given. Pass --silhouettes DIR "
                    "with PNGs of one object each, transparent around it or white on black."
                )
            self._draw["silhouettes"] = SilhouetteFolder(silhouettes).draw

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw one mask.

        Returns:
            (height, width) of 0 (known) and 1 (hole). The hole is never empty and covers at most half of the image.

        Raises:
            ConfigError: An image too small to hold a hole (under 2 pixels).
            TrainingError: A cut-out cannot be read.
        """
        if height * width < 2:
            raise ConfigError(f"a {width}x{height} image is too small for a mask: it needs 2 pixels or more.")
        # Equal weights draw as they did before there were weights, so that earlier runs can be repeated.
        place = rng.integers(len(self.kinds)) if self._weights is None else rng.choice(len(self.kinds), p=self._weights)
        draw_holes = self._draw[self.kinds[int(place)]]
        for _ in range(100):
            canvas = Image.new("L", (width, height))
            draw_holes(ImageDraw.Draw(canvas), canvas.size, rng)
            mask = np.array(canvas, dtype=np.uint8)
            if 0 < mask.mean() <= MAX_HOLE_FRACTION:
                return mask
        # On images much smaller than the shapes every draw may cover too much: half of the image is then the hole.
        mask = np.zeros((height, width), dtype=np.uint8)
        if width >= height:
            mask[:, : width // 2] = 1
        else:
            mask[: height // 2] = 1
        return mask


def random_mask(height: int, width: int, kinds: Sequence[str], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one mask of a kind chosen at random among ``kinds``; see :class:`MaskSampler`."""
    return MaskSampler(kinds)(height, width, rng)
