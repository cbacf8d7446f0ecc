"""Read photos and masks.

A :class:`Photo` keeps the depth and the channels of its file (grey or RGB, either with alpha, 8 or 16 bits a channel)
and its metadata: format, ICC profile, EXIF, resolution and JPEG quantization. Decoding turns the pixels upright and
removes the orientation from the EXIF.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ImageError
from wavepaint.runtime.images.arrays import Levels, as_stored, iterate_strips
from wavepaint.runtime.images.decode import decode, get_name
from wavepaint.runtime.images.photo import ImageSource, Photo

MaskFrom = Literal["luminance", "alpha"]

_LUMA = (77, 150, 29)
"""Weights of red, green and blue in the luminance, in units of 1/256."""


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
    mask_from: MaskFrom = "luminance",
    size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Decode a mask and turn it upright: (H, W), true in the hole.

    Args:
        source: Anything that :func:`read_photo` accepts.
        invert: Swap hole and known pixels.
        threshold: Lowest 8-bit level that counts as white, 1 to 255. A bool array is not thresholded.
        mask_from: ``"luminance"``: white marks the hole; transparent pixels count as black. ``"alpha"``: transparent
            pixels mark the hole.
        size: Width and height of the photo. A mask of another size is refused before decoding. None accepts any size.

    Raises:
        ImageError: As :func:`read_photo`, or a mask of another size, or without the alpha that ``mask_from`` needs.
    """
    if not 1 <= threshold <= 255:
        raise ImageError(f"the mask threshold is {threshold}: expected 1 to 255 (--mask-threshold).")
    decoded = decode(source, role="mask", size=size)
    height, width, channels = decoded.shape
    if mask_from == "alpha" and channels not in (2, 4):
        raise ImageError(f"{get_name(source, 'mask')} has no alpha channel to take the hole from (--mask-from).")
    hole = np.empty((height, width), np.bool_)
    stored = as_stored(hole, decoded.orientation)
    for rows, strip in iterate_strips(decoded.pixels, decoded.mode):
        levels = strip if strip.dtype == np.uint8 else (strip >> 8).astype(np.uint8)
        white = levels[..., -1] < threshold if mask_from == "alpha" else _luminance(levels) >= threshold
        np.not_equal(white, invert, out=stored[rows])
    return hole


def _luminance(levels: Levels) -> NDArray[Any]:
    """Return the luminance (H, W) of (H, W, C) uint8. Transparent pixels count as black."""
    colours = levels[..., :3] if levels.shape[2] >= 3 else levels[..., :1]
    grey: NDArray[Any] = colours[..., 0]
    if colours.shape[2] == 3:
        # Channel by channel, because numpy has no fast product of integer matrices.
        red, green, blue = (np.multiply(colours[..., i], weight, dtype=np.uint16) for i, weight in enumerate(_LUMA))
        grey = (red + green + blue) >> 8
    if levels.shape[2] in (2, 4):
        grey = np.multiply(grey, levels[..., -1], dtype=np.uint16) // np.uint16(255)
    return grey
