"""Random hole masks of several kinds, drawn by LaMa's generators and others.

Widths and lengths are pixels of a 256-pixel image and do not scale with the image. ``thick@256`` does: it is drawn at
256 pixels and scaled to the image, as LaMa's tools enlarge smaller photos. The distribution matches LaMa's test sets
for square photos; for others, LaMa's tools draw on the whole photo and then crop.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wavepaint.data.follow_up_masks import draw_chain, draw_large_boxes
from wavepaint.data.lama_masks import SETTINGS, draw_lama_mask
from wavepaint.data.silhouettes import SilhouetteFolder
from wavepaint.data.simple_masks import draw_paper_box, draw_polygons, draw_squares
from wavepaint.errors import ConfigError

MaskKind = Literal[
    "thin",
    "medium",
    "thick",
    "lama-training",
    "squares",
    "boxes",
    "boxes-8",
    "boxes-12",
    "polygons",
    "large-boxes",
    "chains",
    "silhouettes",
]
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
    "boxes-8": "boxes of 8x8 pixels of Resource-efficient Image Inpainting (table 2)",
    "boxes-12": "boxes of 12x12 pixels of Resource-efficient Image Inpainting (table 3)",
    "polygons": "polygons of WavePaint",
    "large-boxes": "boxes of the LaMa follow-up (nuniniyujin/lama_inpainting@51ded42, data.py)",
    "chains": "polygonal chains of the LaMa follow-up (nuniniyujin/lama_inpainting@51ded42, data.py)",
    "silhouettes": "silhouettes from a folder",
}
"""Names of the generators, for reports."""

MAX_HOLE_FRACTION = 0.5
"""LaMa's tools reject test masks that cover more than half of the image."""

TRAINING_KINDS: tuple[MaskKind, ...] = ("lama-training", "large-boxes", "chains")
"""Kinds that may cover more, because their sources' generators for training do not reject such masks."""

MAX_DRAWN_SIDE = 4096
"""Pixels of the shorter side after the @ of a mask kind."""

Draw = Callable[[ImageDraw.ImageDraw, tuple[int, int], np.random.Generator], None]
"""Draws holes of value 1 on an empty canvas of (width, height) pixels."""


_DRAW: dict[MaskKind, Draw] = {
    **{kind: partial(draw_lama_mask, settings=settings) for kind, settings in SETTINGS.items()},
    "squares": draw_squares,
    "boxes": draw_paper_box,
    "boxes-8": partial(draw_paper_box, sides=(8,)),
    "boxes-12": partial(draw_paper_box, sides=(12,)),
    "polygons": draw_polygons,
    "large-boxes": draw_large_boxes,
    "chains": draw_chain,
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
            With :data:`TRAINING_KINDS` it may cover everything but one pixel, as in their sources.

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
        most = height * width - 1 if kind in TRAINING_KINDS else height * width * MAX_HOLE_FRACTION
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
