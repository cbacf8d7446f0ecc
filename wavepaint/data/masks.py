"""Random hole masks: LaMa's generators, and a sampler of several mask kinds.

LaMa trains with one generator and measures with three others. ``lama-training`` is the training generator: thick
strokes or boxes, equally likely, that may hide any share of the photo. ``thin``, ``medium`` and ``thick`` are the test
sets, which hide at most half of a photo. Widths and lengths are pixels of a 256-pixel image and do not scale with the
image. ``thick@256`` does: it is drawn at 256 pixels and scaled to the image, as LaMa's tools enlarge smaller photos.
The distribution matches the test sets for square photos; for others, LaMa's tools draw on the whole photo and then
crop. The other kinds are in ``mask_shapes`` and ``silhouettes``.

Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (arXiv 2109.07161),
section 3.3, and advimman/lama@786f593: ``saicinpainting/training/data/masks.py``, ``bin/gen_mask_dataset.py`` and the
configurations that ``GENERATORS`` names.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wavepaint.data.mask_shapes import draw_paper_box, draw_polygons, draw_squares
from wavepaint.data.silhouettes import SilhouetteFolder
from wavepaint.errors import ConfigError

MaskKind = Literal["thin", "medium", "thick", "lama-training", "squares", "boxes", "polygons", "silhouettes"]
ALL_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)
MASK_KINDS: tuple[MaskKind, ...] = ("thin", "medium", "thick")
"""LaMa's test sets, the default of recipes."""

GENERATORS: dict[MaskKind, str] = {
    **{
        kind: f"test set generator of LaMa (advimman/lama@786f593, configs/data_gen/random_{kind}_256)"
        for kind in MASK_KINDS
    },
    "lama-training": "training generator of LaMa (advimman/lama@786f593, configs/training/data/abl-04-256-mh-dist)",
    "squares": "squares of WavePaint",
    "boxes": "boxes of Resource-efficient Image Inpainting (appendix B)",
    "polygons": "polygons of WavePaint",
    "silhouettes": "silhouettes from a folder",
}
"""Names of the generators, for reports."""

MAX_HOLE_FRACTION = 0.5
"""LaMa's tools reject test masks that cover more than half of the image."""

MAX_DRAWN_SIDE = 4096
"""Pixels of the shorter side after the @ of a mask kind."""

Draw = Callable[[ImageDraw.ImageDraw, tuple[int, int], np.random.Generator], None]
"""Draws holes of value 1 on an empty canvas of (width, height) pixels."""


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
SETTINGS: dict[MaskKind, MaskSettings] = {
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
            # LaMa draws with OpenCV, whose lines of width 5 or 6 span 7 pixels and have round ends.
            radius = (brush + 1) // 2
            draw.line([(x, y), (end_x, end_y)], fill=1, width=2 * radius + 1)
            for cx, cy in ((x, y), (end_x, end_y)):
                draw.bitmap((cx - radius, cy - radius), _disc(radius), fill=1)
            x, y = end_x, end_y


def _draw_boxes(draw: ImageDraw.ImageDraw, size: tuple[int, int], s: BoxSettings, rng: np.random.Generator) -> None:
    longest = max(min(s.max_side, min(size) - 2 * s.margin - 1), 1)
    for _ in range(rng.integers(s.min_boxes, s.max_boxes + 1)):
        sides = [int(side) for side in rng.integers(min(s.min_side, longest), longest + 1, 2)]
        starts = []
        for extent, side in zip(size, sides, strict=True):
            first = min(s.margin, extent - side)
            starts.append(int(rng.integers(first, max(extent - s.margin - side, first) + 1)))
        draw.rectangle([*starts, starts[0] + sides[0] - 1, starts[1] + sides[1] - 1], fill=1)


def _draw_lama(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator, *, settings: MaskSettings
) -> None:
    if settings.boxes is not None and rng.random() < settings.box_share:
        _draw_boxes(draw, size, settings.boxes, rng)
    else:
        _draw_strokes(draw, size, settings.strokes, rng)


_DRAW: dict[MaskKind, Draw] = {
    **{kind: partial(_draw_lama, settings=settings) for kind, settings in SETTINGS.items()},
    "squares": draw_squares,
    "boxes": draw_paper_box,
    "polygons": draw_polygons,
}


class KindChoice(NamedTuple):
    """A mask kind, its weight against others, and the shorter side in pixels to draw it at, if any."""

    kind: MaskKind
    weight: float
    side: int | None


def parse_kind(text: str) -> KindChoice:
    """Parse a mask kind with an optional side to draw it at and an optional weight: "thin", "thick@256", "thin:2".

    Raises:
        ConfigError: The kind is unknown, the side is not an integer from 2 to 4096, or the weight is not above 0.
    """
    drawn, colon, number = text.partition(":")
    name, at, pixels = drawn.partition("@")
    for kind in ALL_KINDS:
        if kind == name:
            try:
                weight = float(number) if colon else 1.0
            except ValueError:
                weight = 0.0
            if not 0 < weight < math.inf:
                raise ConfigError(f"mask kind {text!r}: expected a weight above 0 after the colon, as in thin:2.")
            side = int(pixels) if at and pixels.isascii() and pixels.isdigit() and len(pixels) <= 4 else 0
            if at and not 2 <= side <= MAX_DRAWN_SIDE:
                raise ConfigError(
                    f"mask kind {text!r}: expected 2 to {MAX_DRAWN_SIDE} pixels to draw it at after the @, as in "
                    "thick@256."
                )
            return KindChoice(kind, weight, side or None)
    raise ConfigError(
        f"there are no {text!r} masks: expected one or more of {', '.join(ALL_KINDS)} (--masks; in wp masks --kinds)."
    )


def describe_kind(text: str) -> str:
    """Return the name of a kind's generator, for reports."""
    choice = parse_kind(text)
    scaled = f", drawn at {choice.side} pixels and scaled" if choice.side else ""
    return GENERATORS[choice.kind] + scaled


class MaskSampler:
    """Draws masks of several kinds. It can be pickled for loader processes.

    Args:
        kinds: Mask kinds, equally likely unless weighted: ``("thin:2", "medium")``. ``thick@256`` is drawn at a
            shorter side of 256 pixels and scaled to the image.
        silhouettes: Folder of cut-outs, for the kind "silhouettes".

    Raises:
        ConfigError: There is no kind or an unknown one, or silhouettes have no usable folder.
    """

    def __init__(self, kinds: Sequence[str], silhouettes: Path | None = None) -> None:
        if not kinds:
            raise ConfigError(
                f"there is no mask kind: expected one or more of {', '.join(ALL_KINDS)} (--masks; in wp masks --kinds)."
            )
        self.kinds, weights, self._sides = zip(*map(parse_kind, kinds), strict=True)
        self._weights = None if len(set(weights)) == 1 else np.divide(weights, sum(weights))
        self._draw = dict(_DRAW)
        if "silhouettes" in self.kinds:
            if silhouettes is None:
                raise ConfigError(
                    "silhouette masks need a folder of cut-outs: pass --silhouettes DIR with PNGs of one object each, "
                    "transparent around it or white on black."
                )
            self._draw["silhouettes"] = SilhouetteFolder(silhouettes).draw

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw one mask.

        Returns:
            (height, width) of 0 (known) and 1 (hole). The hole is never empty and covers at most half of the image.
            With ``lama-training`` it may cover everything but one pixel, as in LaMa's training.

        Raises:
            ConfigError: The image has fewer than 2 pixels.
            TrainingError: A cut-out cannot be read.
        """
        if height * width < 2:
            raise ConfigError(f"a {width}x{height} image is too small for a mask: it needs 2 pixels or more.")
        # Equal weights draw as before weights existed, so that earlier runs can be repeated.
        index = int(
            rng.integers(len(self.kinds)) if self._weights is None else rng.choice(len(self.kinds), p=self._weights)
        )
        kind, side = self.kinds[index], self._sides[index]
        draw_holes = self._draw[kind]
        most = height * width - 1 if kind == "lama-training" else height * width * MAX_HOLE_FRACTION
        factor = side / min(height, width) if side else 1
        for _ in range(100):
            canvas = Image.new("L", (round(width * factor), round(height * factor)))
            draw_holes(ImageDraw.Draw(canvas), canvas.size, rng)
            if side:
                canvas = canvas.resize((width, height), Image.Resampling.NEAREST)
            mask = np.array(canvas, dtype=np.uint8)
            if 0 < np.count_nonzero(mask) <= most:
                return mask
        # In images much smaller than the shapes every draw may cover too much. Half of the image is then the hole.
        mask = np.zeros((height, width), dtype=np.uint8)
        if width >= height:
            mask[:, : width // 2] = 1
        else:
            mask[: height // 2] = 1
        return mask
