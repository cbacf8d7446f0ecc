"""Pixel arrays: strips of large images, EXIF orientations, and rounding to integer levels."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_PIXELS = 2**19
"""Pixels of one strip. Strips keep temporary arrays small: only the result is as large as the image."""

Levels = NDArray[np.uint8] | NDArray[np.uint16]
"""Pixel values of 8 or 16 bits."""


def is_levels(pixels: NDArray[Any]) -> bool:
    """Return whether an array is (H, W, C) of 8 or 16 bits a channel with C of 1 to 4, none of them 0."""
    return (
        pixels.ndim == 3
        and pixels.dtype.kind == "u"
        and pixels.dtype.itemsize <= 2
        and pixels.shape[2] <= 4
        and 0 not in pixels.shape
    )


def slice_rows(shape: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of each strip of an image with shape (H, W, ...)."""
    height, width = shape[:2]
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def iterate_strips(image: Image.Image | NDArray[Any], mode: str | None = None) -> Iterator[tuple[slice, Levels]]:
    """Yield the rows and the pixels (h, W, C) of each strip.

    Args:
        image: A PIL image, or an array (H, W, C).
        mode: Mode to convert a PIL image to; None keeps its own.
    """
    if isinstance(image, np.ndarray):
        for rows in slice_rows(image.shape):
            yield rows, image[rows]
        return
    for rows in slice_rows((image.height, image.width)):
        strip = image.crop((0, rows.start, image.width, rows.stop))
        if mode not in (None, strip.mode):
            strip = strip.convert(mode)
        pixels = np.asarray(strip)
        yield rows, pixels.reshape(*pixels.shape[:2], -1)


def as_stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of an upright array (H, W, ...) in the stored order of an EXIF orientation, 1 to 8."""
    match orientation:
        case 2:
            return upright[:, ::-1]
        case 3:
            return upright[::-1, ::-1]
        case 4:
            return upright[::-1]
        case 5:
            return upright.swapaxes(0, 1)
        case 6:
            return np.rot90(upright, 1)
        case 7:
            return upright[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(upright, -1)
    return upright


def quantize(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round values in [0, 1] to the levels of an unsigned integer dtype. Values outside the range are clipped."""
    return np.round(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)
