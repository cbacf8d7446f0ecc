"""Photographs and masks in and out without losing anything on the way.

A :class:`Photo` keeps its pixels in the depth and channels of the file (grey or RGB, either with alpha, of 8 or 16
bits a channel) together with what else the file says: format, ICC profile, EXIF (upright after decoding, the
orientation entry removed), resolution and JPEG quantization.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ImageError
from wavepaint.runtime.images.arrays import Strip, as_stored, iterate_strips
from wavepaint.runtime.images.decode import decode, get_name
from wavepaint.runtime.images.encode import encode_photo, write_photo
from wavepaint.runtime.images.photo import ImageSource, Photo

__all__ = ["ImageSource", "MaskFrom", "Photo", "encode_photo", "quantize", "read_mask", "read_photo", "write_photo"]

MaskFrom = Literal["luminance", "alpha"]

_LUMA = (77, 150, 29)
"""Weights of red, green and blue, of 256."""


def read_photo(source: ImageSource, role: str = "image") -> Photo:
    """Decode a photograph, upright.

    Palettes become RGB or RGBA, 1-bit images become grey; otherwise depth and channels are kept.

    Args:
        source: A path, an encoded file's bytes, a PIL image or an array: uint8 or uint16 of (H, W), (H, W, 2),
            (H, W, 3) RGB or (H, W, 4) RGBA, or bool (H, W). Of a 16-bit colour file that was opened as a PIL image
            and decoded already, only 8 bits are left; give the file.
        role: What to call a source without a name in messages.

    Warns:
        WavePaintWarning: The EXIF or the ICC profile is broken; it is dropped.

    Raises:
        ImageError: Missing, broken, animated, too large, no regular file, or of a colour space or depth that cannot
            be kept.
    """
    decoded = decode(source, role)
    if isinstance(decoded.pixels, np.ndarray) and decoded.orientation == 1 and not isinstance(source, np.ndarray):
        pixels = decoded.pixels  # nobody else's
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
    """Decode a mask, upright: (H, W), true in the hole.

    Args:
        source: The mask, of any kind that :func:`read_photo` takes.
        invert: Swap hole and known.
        threshold: Levels of 255 from which on a pixel counts as white. A bool array is not thresholded.
        mask_from: ``"luminance"``: white is hole; transparent parts count as black. ``"alpha"``: transparent is hole.
        size: Width and height of its photo: a file of another size is refused before it is decoded. None: any.

    Raises:
        ImageError: As :func:`read_photo`, or a mask of another size, or without alpha where its alpha was asked for.
    """
    if not 1 <= threshold <= 255:
        raise ImageError(f"the mask threshold is {threshold}: expected 1 to 255 (--mask-threshold).")
    decoded = decode(source, role="mask", size=size)
    height, width, channels = decoded.shape
    if mask_from == "alpha" and channels not in (2, 4):
        raise ImageError(f"{get_name(source, 'mask')} has no alpha channel to take the hole from.")
    hole = np.empty((height, width), np.bool_)
    stored = as_stored(hole, decoded.orientation)
    for rows, strip in iterate_strips(decoded.pixels, decoded.mode):
        levels = strip if strip.dtype == np.uint8 else (strip >> 8).astype(np.uint8)
        white = levels[..., -1] < threshold if mask_from == "alpha" else _luminance(levels) >= threshold
        np.not_equal(white, invert, out=stored[rows])
    return hole


def _luminance(levels: Strip) -> NDArray[Any]:
    """Return the levels (H, W) of (H, W, C) uint8; what is transparent counts as black."""
    colours = levels[..., :3] if levels.shape[2] >= 3 else levels[..., :1]
    grey: NDArray[Any] = colours[..., 0]
    if colours.shape[2] == 3:
        # Channel by channel, since numpy multiplies matrices of integers slowly.
        red, green, blue = (np.multiply(colours[..., i], weight, dtype=np.uint16) for i, weight in enumerate(_LUMA))
        grey = (red + green + blue) >> 8
    if levels.shape[2] in (2, 4):
        grey = np.multiply(grey, levels[..., -1], dtype=np.uint16) // np.uint16(255)
    return grey


def quantize(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round values in [0, 1] to the levels of an unsigned integer type; what lies outside is clipped."""
    return np.round(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)
