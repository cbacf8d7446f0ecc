"""One photo's fill: how it is asked for, which hole is filled, and how far it is."""

from dataclasses import dataclass
from types import NoneType
from typing import get_args

import numpy as np
from PIL import Image
from wavepaint.arguments import check_choice, check_int, check_type
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ConfigError, ImageError, WavePaintError
from wavepaint.runtime.filling.scale import MAX_GROWTH, Bool, grow_hole
from wavepaint.runtime.filling.strategy import STRATEGIES, Canvas, Limits, Steps, Strategy, fill_steps
from wavepaint.runtime.images.decode import sizes_differ
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import MaskFrom, read_mask


@dataclass(frozen=True, kw_only=True)
class FillOptions:
    """How masks are read and holes filled.

    Attributes:
        invert_mask: Black is the hole instead of white.
        mask_threshold: From which level of 255 on a pixel counts as white, 1 to 255.
        mask_from: ``"alpha"`` takes the transparent pixels of the mask for the hole and makes them opaque.
        resize_mask: Fit a mask of another size to the image, by nearest neighbour.
        dilate: Pixels by which the hole is grown, 0 to 64; for masks that follow an object too closely.
        feather: Pixels, 0 to 64, over which the fill leads over into the photo, in the ring by which the hole was
            grown. Less than ``dilate``, it leaves nothing of what lies at the edge of the hole that was asked for.
        strategy: How large photos and holes are treated; see :mod:`wavepaint.runtime.filling.strategy`.

    Raises:
        ConfigError: A value makes no sense.
    """

    invert_mask: bool = False
    mask_threshold: int = MASK_THRESHOLD
    mask_from: MaskFrom = "luminance"
    resize_mask: bool = False
    dilate: int = 0
    feather: int = 0
    strategy: Strategy = "auto"

    def __post_init__(self) -> None:
        for name in ("invert_mask", "resize_mask"):
            check_type(name, getattr(self, name), bool, "True or False")
        check_int("mask_threshold", self.mask_threshold, 1, 255, flag="--mask-threshold")
        check_choice("mask_from", self.mask_from, get_args(MaskFrom), flag="--mask-from")
        for name in ("dilate", "feather"):
            check_int(name, getattr(self, name), 0, MAX_GROWTH, unit="pixels", flag=f"--{name}")
        if self.feather and not self.dilate:
            raise ConfigError(
                f"feather is {self.feather} pixels, over which the fill leads over into the ring by which the hole is "
                "grown, and it is not: pass --dilate as well, best with some pixels more."
            )
        check_choice("strategy", self.strategy, STRATEGIES, flag="--strategy")

    def read_mask(self, source: ImageSource, size: tuple[int, int] | None = None) -> Bool:
        """Decode a mask: (H, W), true in the hole; see :func:`wavepaint.runtime.images.read.read_mask`.

        Args:
            source: The mask.
            size: Width and height of its photo: a mask of another size is refused before it is decoded, but where
                ``resize_mask`` fits it.
        """
        return read_mask(
            source,
            invert=self.invert_mask,
            threshold=self.mask_threshold,
            mask_from=self.mask_from,
            size=None if self.resize_mask else size,
        )


def check_options(options: FillOptions | None) -> FillOptions:
    """Return the options of a call, the defaults for None.

    Raises:
        ConfigError: Another type.
    """
    check_type("options", options, (FillOptions, NoneType), "FillOptions, or None for the defaults")
    return options or FillOptions()


class Fill:
    """One photo on its way: (H, W) masks of the hole that was asked for and of the one that is filled.

    Attributes:
        limits: What may pass the engine; they count from the next :meth:`start` on.
        steps: What is left to be run.
        error: Why it failed.
    """

    def __init__(self, photo: Photo, asked_HW: Bool, hole_HW: Bool, options: FillOptions, limits: Limits) -> None:
        self.photo, self.options, self.limits = photo, options, limits
        self.error: WavePaintError | None = None
        self._hole, self._valid = hole_HW, ~asked_HW

    def start(self) -> None:
        """Begin, or begin anew."""
        self.error = None
        self._pixels = self.photo.pixels.copy()
        colours = slice(0, self.photo.num_colours)
        canvas = Canvas(
            self.photo.pixels[..., colours], self._pixels[..., colours], self._hole, self._valid, self.options.feather
        )
        self.steps: Steps = fill_steps(canvas, self.options.strategy, self.limits)

    def finish(self) -> Photo | WavePaintError:
        """Return the filled photo, or why it failed."""
        if self.error is not None:
            return self.error
        if self.options.mask_from == "alpha" and self.photo.has_alpha:
            self._pixels[..., -1][self._hole] = np.iinfo(self._pixels.dtype).max
        return self.photo.with_pixels(self._pixels)


def fit_hole(photo: Photo, hole_HW: Bool, options: FillOptions) -> tuple[Bool, Bool] | None:
    """Return the hole as asked for, in the photo's size, and as it is filled; None for an empty mask.

    Raises:
        ImageError: Sizes differ, or the hole is all of the photo.
    """
    asked = _fit_mask(photo, hole_HW, options.resize_mask)
    if not asked.any():
        return None
    hole = grow_hole(asked, options.dilate) if options.dilate else asked
    if hole.all():
        raise ImageError(
            f"the mask covers all of {photo.source}, so there is nothing to continue from. White marks the hole; "
            "--invert-mask swaps."
        )
    return asked, hole


def _fit_mask(photo: Photo, hole_HW: Bool, resize_mask: bool) -> Bool:
    height, width = hole_HW.shape
    if (width, height) == photo.size:
        return hole_HW
    if not resize_mask:
        raise sizes_differ(photo.size, (width, height))
    resized = Image.fromarray(hole_HW).resize(photo.size, Image.Resampling.NEAREST)
    return np.array(resized, dtype=np.bool_)
