"""Draw the mask of a photo from rectangles, a frame, colours and scratches."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.arguments import check_choice, check_int, check_sequence, check_type
from wavepaint.errors import ConfigError, ImageError, WavePaintWarning
from wavepaint.runtime.filling.morphology import MAX_GROWTH, grow_hole
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.images.arrays import slice_rows
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.masking.colours import mark_colours, parse_colour
from wavepaint.runtime.masking.scratches import Polarity, find_scratches
from wavepaint.runtime.masking.shapes import Measure, check_measures, mark_border, mark_rectangle
from wavepaint.runtime.previews import as_rgb

COLOUR_GROWTH = 3
"""Pixels by which painted areas grow by default: the rim that mixes paint and photo, also after a JPEG."""

SCRATCH_GROWTH = 2
"""Pixels by which scratches grow by default."""

TOLERANCE = 40
SENSITIVITY = 50
MAX_SCRATCH_WIDTH = 256


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """What a mask marks: everything that one of the sources marks.

    Attributes:
        rectangles: Left, top, width and height of each rectangle, in pixels or as a percentage (``"10%"``).
        border: Width of a frame, or its widths at the left, top, right and bottom; empty for none.
        colours: Colours that were painted over what is to be filled: ``"#ff00ff"``, ``"magenta"``.
        tolerance: Largest difference, 0 to 255, between a colour's channel and a pixel's, in 8-bit sRGB.
        scratches: ``"bright"`` or ``"dark"`` thin lines, or ``"both"``; None for none.
        sensitivity: 0 to 100; more finds weaker scratches, and more that is none.
        scratch_width: Width of the widest scratches in pixels; None for a 500th of the photo's longer side, at least 4.
        dilate: Pixels, 0 to 64, by which the whole mask grows. None: 3 for colours, 2 for scratches, else 0.

    Raises:
        ConfigError: A value is out of range or of another type, or there is no source.
    """

    rectangles: Sequence[Sequence[Measure]] = ()
    border: Sequence[Measure] = ()
    colours: Sequence[str] = ()
    tolerance: int = TOLERANCE
    scratches: Polarity | None = None
    sensitivity: int = SENSITIVITY
    scratch_width: int | None = None
    dilate: int | None = None

    def __post_init__(self) -> None:
        check_sequence("rectangles", self.rectangles, "a list of rectangles, each (left, top, width, height)")
        check_sequence("border", self.border, "a list of one width, or of left, top, right and bottom")
        check_sequence("colours", self.colours, "a list of colours, such as ['magenta']")
        for rectangle in self.rectangles:
            check_measures("a rectangle (--rect)", rectangle, (4,), "x,y,width,height")
        if self.border:
            check_measures("the border (--border)", self.border, (1, 4), "one width, or left,top,right,bottom")
        for colour in self.colours:
            check_type("an element of colours", colour, str, "text such as '#ff00ff' or 'magenta'")
            parse_colour(colour)
        if self.scratches is not None:
            check_choice("scratches", self.scratches, get_args(Polarity), flag="--scratches")
        check_int("tolerance", self.tolerance, 0, 255, flag="--tolerance")
        check_int("sensitivity", self.sensitivity, 0, 100, flag="--sensitivity")
        if self.scratch_width is not None:
            check_int("scratch_width", self.scratch_width, 1, MAX_SCRATCH_WIDTH, unit="pixels", flag="--scratch-width")
        if self.dilate is not None:
            check_int("dilate", self.dilate, 0, MAX_GROWTH, unit="pixels", flag="--dilate")
        if not (self.rectangles or self.border or self.colours or self.scratches):
            raise ConfigError(
                "nothing says what to mark: expected at least one of --rect, --border, --from-color and --scratches."
            )


def draw_mask(image: ImageSource, options: MaskOptions) -> NDArray[np.bool_]:
    """Draw the mask of a photo.

    Args:
        image: A path, an encoded file's bytes, a PIL image or an array, as :meth:`wavepaint.Inpainter.fill` takes it.
        options: What to mark.

    Returns:
        (H, W) of the upright photo, true in the hole: a mask for :meth:`wavepaint.Inpainter.fill`.

    Warns:
        WavePaintWarning: One of several sources marks nothing, or a rectangle reaches beyond the photo and is cut off.

    Raises:
        ImageError: See :func:`wavepaint.runtime.images.read_photo`. Also if nothing is marked, if everything is, or if
            a rectangle lies outside of the photo.
        ConfigError: ``options`` is of another type.
    """
    check_type("options", options, MaskOptions, "MaskOptions")
    photo = read_photo(image)
    hole, advice = mark_photo(photo, options)
    if advice:
        raise ImageError(f"{photo.source}: {advice}")
    return hole


def mark_photo(photo: Photo, options: MaskOptions) -> tuple[Bool, str]:
    """Draw the mask of a decoded photo; it may be empty.

    Returns:
        (H, W), true in the hole; and, if nothing is marked, why, and what to change.

    Warns:
        WavePaintWarning: One of several sources marks nothing, or a rectangle is cut off.

    Raises:
        ImageError: Everything is marked, or a rectangle lies outside of the photo.
    """
    hole, misses = np.zeros(photo.pixels.shape[:2], np.bool_), []
    if options.scratches is not None:
        grey = _read_grey(photo)
        hole |= find_scratches(grey, options.scratches, sensitivity=options.sensitivity, width=options.scratch_width)
        hole = _grow(hole, options, SCRATCH_GROWTH)
        if not hole.any():
            misses.append(f"no {_SCRATCHES[options.scratches]}. {_advise_on_scratches(options)}")
    if options.colours:
        painted = np.zeros_like(hole)
        colours = [parse_colour(colour) for colour in options.colours]
        nearest = mark_colours(painted, photo, colours, options.tolerance)
        hole |= _grow(painted, options, COLOUR_GROWTH)
        if nearest > options.tolerance:
            misses.append(_advise_on_colours(options, nearest))
    if options.rectangles or options.border:
        hole |= _grow(_mark_shapes(photo, options), options, 0)
    if hole.all():
        raise ImageError(
            f"{photo.source}: the mask covers the whole photo, so nothing would be left to fill from. Mark less."
        )
    if hole.any():
        for miss in misses:
            warnings.warn(f"{photo.source}: found {miss}.", WavePaintWarning, stacklevel=3)
        return hole, ""
    return (
        hole,
        f"nothing to mark: {'; '.join(misses) or 'the border has no pixel. Pass --border with a larger width'}.",
    )


def _mark_shapes(photo: Photo, options: MaskOptions) -> Bool:
    shapes = np.zeros(photo.pixels.shape[:2], np.bool_)
    for rectangle in options.rectangles:
        mark_rectangle(shapes, rectangle, photo.source)
    if options.border:
        mark_border(shapes, options.border)
    return shapes


_SCRATCHES = {"bright": "bright scratches", "dark": "dark scratches", "both": "scratches"}


def _advise_on_scratches(options: MaskOptions) -> str:
    advice = [f"Pass a --sensitivity above {options.sensitivity} to find weaker ones"] * (options.sensitivity < 100)
    advice += ["--scratch-width if they are wider"] * (options.scratch_width is None)
    return ", or ".join(advice) or "Mark them by hand"


def _advise_on_colours(options: MaskOptions, nearest: int) -> str:
    advice = f"no {' or '.join(options.colours)}: the nearest colour in the photo differs by {nearest}. "
    if nearest <= 2 * TOLERANCE:
        return advice + f"If that is the paint, pass --tolerance {nearest + 10}"
    return advice + "Name the colour of the paint with --from-color, and save the photo after painting"


def _grow(hole_HW: Bool, options: MaskOptions, default: int) -> Bool:
    distance = default if options.dilate is None else options.dilate
    return grow_hole(hole_HW, distance) if distance and hole_HW.any() else hole_HW


def _read_grey(photo: Photo) -> NDArray[np.uint8]:
    """Return the luminance, (H, W) uint8."""
    grey = np.empty(photo.pixels.shape[:2], np.uint8)
    for rows in slice_rows(grey.shape):
        grey[rows] = np.asarray(Image.fromarray(as_rgb(Photo(pixels=photo.pixels[rows]))).convert("L"))
    return grey
