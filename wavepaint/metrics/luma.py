"""Brightness of images and means over windows, in numpy: what the measures of lines and of repetition share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.errors import ImageError

Map = NDArray[np.float32]
"""(H, W) float32."""

_WEIGHTS = np.array((0.299, 0.587, 0.114), np.float32)
"""ITU-R BT.601."""


def make_luma(image_HW3: NDArray[Any]) -> Map:
    """Return the luma in [0, 1] of an image (H, W, 3): uint8, or floating-point in [0, 1]."""
    scale = 255 if image_HW3.dtype == np.uint8 else 1
    return np.asarray(image_HW3.astype(np.float32) @ (_WEIGHTS / np.float32(scale)), np.float32)


def average_window(values: Map, size: int) -> Map:
    """Return the mean of ``size`` x ``size`` pixels around each pixel, for an odd ``size``; borders are mirrored."""
    mean = np.pad(values, size // 2, mode="symmetric").astype(np.float64)
    for axis in (0, 1):
        total = np.cumsum(mean, axis=axis)
        total = np.insert(total, 0, 0, axis=axis)
        length = total.shape[axis]
        mean = (total.take(range(size, length), axis) - total.take(range(length - size), axis)) / size
    return mean.astype(np.float32)


def check_fill(truth_HW3: NDArray[Any], filled_HW3: NDArray[Any], mask_HW: NDArray[Any]) -> None:
    """Check that a photograph, its fill and the mask fit together.

    Raises:
        ImageError: They have different sizes or types.
    """
    same = truth_HW3.shape == filled_HW3.shape == (*mask_HW.shape, 3) and truth_HW3.dtype == filled_HW3.dtype
    if mask_HW.ndim != 2 or not same:
        raise ImageError(
            f"the photograph is {truth_HW3.shape} {truth_HW3.dtype}, its fill {filled_HW3.shape} {filled_HW3.dtype} "
            f"and the mask {mask_HW.shape}: expected (H, W, 3) twice with the same dtype, and (H, W)."
        )
