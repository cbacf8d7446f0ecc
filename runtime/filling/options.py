"""Options of a fill, and the hole that follows from mask and options."""

from dataclasses import dataclass
from types import NoneType
from typing import get_args

import numpy as np
from PIL import Image
from wavepaint.arguments import check_choice, check_int, check_type
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ConfigError, ImageError
from wavepaint.runtime.filling.morphology import MAX_GROWTH, grow_hole
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.filling.strategy import STRATEGIES, Strategy
from wavepaint.runtime.images.decode import sizes_differ
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import MaskFrom


@dataclass(frozen=True, kw_only=True)
class FillOptions:
    """How masks are read and holes are filled.

    Attributes:
        invert_mask: Black marks the hole instead of white.
        mask_threshold: Lowest level, 1 to 255, that counts as white.
        mask_from: ``"auto"`` recognises masks that are drawn in colour or on a transparent layer, and refuses
            photographs; see :func:`wavepaint.runtime.images.read.read_mask`. ``"luminance"`` takes what is white.
            ``"alpha"`` takes the transparent pixels of the mask as the hole and makes them opaque.
        resize_mask: Resize a mask of another size to the image, with nearest-neighbour interpolation.
        dilate: Pixels, 0 to 64, by which the hole is grown; for masks that follow an object too closely.
        feather: Width in pixels, 0 to 64, of the transition from fill to photo in the ring that ``dilate`` adds. A
            value below ``dilate`` replaces everything at the edge of the original hole.
        strategy: How large photos and holes are filled; see :mod:`wavepaint.runtime.filling.strategy`.

    Raises:
        ConfigError: A value is out of range.
    """

    invert_mask: bool = False
    mask_threshold: int = MASK_THRESHOLD
    mask_from: MaskFrom = "auto"
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
                f"feather is {self.feather} pixels, but dilate is 0: the transition needs the ring by which the hole "
                "is grown. Pass --dilate as well, best a few pixels more than --feather."
            )
        check_choice("strategy", self.strategy, STRATEGIES, flag="--strategy")


def check_options(options: FillOptions | None) -> FillOptions:
    """Return the options; the defaults for None.

    Raises:
        ConfigError: ``options`` is of another type.
    """
    check_type("options", options, (FillOptions, NoneType), "FillOptions, or None for the defaults")
    return options or FillOptions()


def fit_hole(photo: Photo, hole_HW: Bool, options: FillOptions) -> tuple[Bool, Bool] | None:
    """Return the mask's hole in the photo's size, and that hole grown by ``dilate``; None for an empty mask.

    Raises:
        ImageError: Sizes differ, or the hole covers the whole photo.
    """
    marked = _fit_mask(photo, hole_HW, options.resize_mask)
    if not marked.any():
        return None
    hole = grow_hole(marked, options.dilate) if options.dilate else marked
    if hole.all():
        cause, advice = "", "White marks the hole; --invert-mask swaps."
        if not marked.all():
            cause, advice = f", grown by {options.dilate} pixels,", "Pass a smaller --dilate."
        raise ImageError(
            f"the mask{cause} covers all of {photo.source}, so no known pixels are left to fill from. {advice}"
        )
    return marked, hole


def _fit_mask(photo: Photo, hole_HW: Bool, resize_mask: bool) -> Bool:
    height, width = hole_HW.shape
    if (width, height) == photo.size:
        return hole_HW
    if not resize_mask:
        raise sizes_differ(photo.size, (width, height))
    resized = Image.fromarray(hole_HW).resize(photo.size, Image.Resampling.NEAREST)
    return np.array(resized, dtype=np.bool_)
