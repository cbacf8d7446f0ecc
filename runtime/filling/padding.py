"""Padding of images to sides that a network takes."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import PadMode
from wavepaint.runtime.sizes import pad_side

_Pixel = TypeVar("_Pixel", bound=np.generic)


def pad_to_multiple(
    pixels_HWC: NDArray[_Pixel], multiple: int, padding: PadMode, least: tuple[int, int] = (1, 1)
) -> NDArray[_Pixel]:
    """Pad (H, W) or (H, W, C) at the bottom and the right, in numpy's mode, to the sides of
    :func:`~wavepaint.runtime.sizes.pad_side`.
    """
    height, width = pixels_HWC.shape[:2]
    down, right = pad_side(height, multiple, least[0]) - height, pad_side(width, multiple, least[1]) - width
    return np.pad(pixels_HWC, ((0, down), (0, right), *((0, 0),) * (pixels_HWC.ndim - 2)), mode=padding)
