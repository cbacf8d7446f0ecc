"""Going through large images strip by strip, so that nothing but the result is as large as the image."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_PIXELS = 2**19

Strip = NDArray[np.uint8] | NDArray[np.uint16]


def slice_rows(shape: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of each strip of an image of the shape (H, W, ...)."""
    height, width = shape[:2]
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def iterate_strips(image: Image.Image | NDArray[Any], mode: str | None = None) -> Iterator[tuple[slice, Strip]]:
    """Yield rows and pixels (h, W, C) of one strip after another.

    Args:
        image: A PIL image, or an array (H, W, C).
        mode: Convert a PIL image to this mode.
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
    """Return a view of an upright array (H, W, ...) in the order in which a file of this EXIF orientation stores it."""
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
