"""Read photos and masks.

A :class:`Photo` keeps the depth and the channels of its file (grey or RGB, either with alpha, 8 or 16 bits a channel)
and its metadata: format, ICC profile, EXIF, resolution and JPEG quantization. Decoding turns the pixels upright and
removes the orientation from the EXIF.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from wavepaint.arguments import check_choice, check_int, check_type
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ImageError
from wavepaint.runtime.images.arrays import as_stored, iterate_strips
from wavepaint.runtime.images.decode import Decoded, decode, get_name
from wavepaint.runtime.images.mask_kinds import MaskKind, mark_white, measure_luminance, recognise_mask
from wavepaint.runtime.images.photo import ImageSource, Photo

MaskFrom = Literal["auto", "luminance", "alpha"]


@dataclass(frozen=True)
class Mask:
    """A decoded mask.

    Attributes:
        hole: (H, W), true in the hole.
        kind: How it was read; ``levels`` for alpha and luminance that were asked for.
        brightest: Its highest luminance, 0 to 255, if nothing in it counts as white; else 255.
        source: Name for messages.
    """

    hole: NDArray[np.bool_]
    kind: MaskKind = "levels"
    brightest: int = 255
    source: str = "the mask"


def read_photo(source: ImageSource, role: str = "image") -> Photo:
    """Decode a photo and turn it upright.

    Palettes become RGB or RGBA, and 1-bit images become grey. Otherwise depth and channels are kept.

    Args:
        source: A path, the bytes of an encoded file, a PIL image or an array. Arrays are uint8 or uint16 with shape
            (H, W), (H, W, 2), (H, W, 3) RGB or (H, W, 4) RGBA, or bool (H, W). Pass a 16-bit colour file as a path:
            a decoded PIL image keeps only 8 bits of each channel.
        role: Name for messages of a source that has no path.

    Warns:
        WavePaintWarning: The EXIF or the ICC profile is broken; it is dropped.

    Raises:
        ImageError: Missing, broken, animated, too large, not a regular file, or with a colour space or depth that
            cannot be kept.
    """
    decoded = decode(source, role)
    if isinstance(decoded.pixels, np.ndarray) and decoded.orientation == 1 and not isinstance(source, np.ndarray):
        pixels = decoded.pixels  # made by the decoder, so no copy is needed
    else:
        pixels = np.empty(decoded.shape, decoded.dtype)
        stored = as_stored(pixels, decoded.orientation)
        for rows, strip in iterate_strips(decoded.pixels, decoded.mode):
            stored[rows] = strip
    return Photo(
        pixels=pixels,
        format=decoded.format,
        save_options=decoded.save_options,
        jpeg_options=decoded.jpeg_options,
        source=get_name(source, role),
    )


def read_mask(
    source: ImageSource,
    *,
    invert: bool = False,
    threshold: int = MASK_THRESHOLD,
    mask_from: MaskFrom = "auto",
    size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Decode a mask and turn it upright: (H, W), true in the hole.

    Args:
        source: Anything that :func:`read_photo` accepts.
        invert: Swap hole and known pixels.
        threshold: Lowest 8-bit level that counts as white, 1 to 255. A bool array is not thresholded.
        mask_from: ``"luminance"``: white marks the hole; transparent pixels count as black. ``"alpha"``: transparent
            pixels mark the hole. ``"auto"``: as ``"luminance"``, except that coloured strokes on black, and paint
            without white on a transparent layer, mark the hole.
        size: Width and height of the photo. A mask of another size is refused before decoding. None accepts any size.

    Raises:
        ImageError: As :func:`read_photo`, or a mask of another size, or without the alpha that ``mask_from`` needs, or
            with coloured strokes on white, of which it is unclear what they mark.
        ConfigError: Another argument is out of range or of another type.
    """
    check_type("invert", invert, bool, "True or False")
    check_int("threshold", threshold, 1, 255, flag="--mask-threshold")
    check_choice("mask_from", mask_from, get_args(MaskFrom), flag="--mask-from")
    return decode_mask(source, invert=invert, threshold=threshold, mask_from=mask_from, size=size).hole


def decode_mask(
    source: ImageSource, *, invert: bool, threshold: int, mask_from: MaskFrom, size: tuple[int, int] | None
) -> Mask:
    """Decode a mask as :func:`read_mask` does, and tell what kind of picture it is.

    A photograph is not refused: with ``"auto"`` its kind is ``photo`` or ``cutout``, and its light parts are the hole.
    """
    decoded, name = decode(source, role="mask", size=size), get_name(source, "mask")
    height, width, channels = decoded.shape
    if mask_from == "alpha" and channels not in (2, 4):
        raise ImageError(f"{name} has no alpha channel to take the hole from (--mask-from).")
    kind: MaskKind = "levels"
    if mask_from == "auto":
        kind = recognise_mask((levels for _, levels in _iterate_levels(decoded)), threshold, invert)
    if kind == "strokes on white" and not invert:
        raise ImageError(
            f"{name} has coloured strokes on white. If the strokes mark what to fill, pass --invert-mask. If the white "
            "part does, pass --mask-from luminance."
        )
    hole = np.empty((height, width), np.bool_)
    stored = as_stored(hole, decoded.orientation)
    for rows, levels in _iterate_levels(decoded):
        white = levels[..., -1] < threshold if mask_from == "alpha" else mark_white(levels, kind, threshold)
        np.not_equal(white, invert, out=stored[rows])
    brightest = 255
    if mask_from != "alpha" and (hole.all() if invert else not hole.any()):
        brightest = max(int(measure_luminance(levels).max()) for _, levels in _iterate_levels(decoded))
    return Mask(hole, kind, brightest, name)


def _iterate_levels(decoded: Decoded) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the rows and the pixels (h, W, C) of each strip, with 8 bits a channel."""
    for rows, strip in iterate_strips(decoded.pixels, decoded.mode):
        yield rows, strip if strip.dtype == np.uint8 else (strip >> 8).astype(np.uint8)
