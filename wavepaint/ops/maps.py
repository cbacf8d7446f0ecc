"""What operators ask of the maps they are given."""

import torch
from torch import Tensor

from wavepaint.errors import ImageError


def check_maps(x_NCHW: Tensor, what: str) -> None:
    """Raise unless a tensor is (N, C, H, W) and floating: in whole numbers fixed weights would round to 0.

    Raises:
        ImageError: It is not.
    """
    if x_NCHW.ndim != 4 or not x_NCHW.is_floating_point():
        shape, dtype = tuple(x_NCHW.shape), str(x_NCHW.dtype).removeprefix("torch.")
        raise ImageError(f"{what} is {shape} {dtype}: expected (N, C, H, W) of a floating dtype.")


def check_mask(mask_N1HW: Tensor, image_NCHW: Tensor) -> None:
    """Raise unless a mask is (N, 1, H, W) and floating, as large as an image (N, C, H, W).

    Raises:
        ImageError: It is not.
    """
    check_maps(mask_N1HW, "the mask")
    if torch.compiler.is_exporting():  # sizes are symbols there
        return
    batch, _, height, width = image_NCHW.shape
    if mask_N1HW.shape != (batch, 1, height, width):
        raise ImageError(f"the mask is {tuple(mask_N1HW.shape)}: expected {(batch, 1, height, width)}, as the image.")
