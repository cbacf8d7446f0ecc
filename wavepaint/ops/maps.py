"""What operators on maps share: checks of their inputs, and crops."""

import torch
from torch import Tensor

from wavepaint.errors import ImageError


def check_maps(x_NCHW: Tensor, name: str) -> None:
    """Check that a tensor is (N, C, H, W) and floating. In an integer dtype fixed weights would round to 0.

    Raises:
        ImageError: Its shape or dtype is another.
    """
    if x_NCHW.ndim != 4 or not x_NCHW.is_floating_point():
        shape, dtype = tuple(x_NCHW.shape), str(x_NCHW.dtype).removeprefix("torch.")
        raise ImageError(f"{name} is {shape} {dtype}: expected (N, C, H, W) of a floating dtype.")


def check_mask(mask_N1HW: Tensor, image_NCHW: Tensor) -> None:
    """Check that a mask is (N, 1, H, W), floating, and as large as an image (N, C, H, W).

    Raises:
        ImageError: Its shape or dtype is another.
    """
    check_maps(mask_N1HW, "the mask")
    if torch.compiler.is_exporting():  # sizes are symbols
        return
    batch, _, height, width = image_NCHW.shape
    if mask_N1HW.shape != (batch, 1, height, width):
        raise ImageError(f"the mask is {tuple(mask_N1HW.shape)}: expected {(batch, 1, height, width)}, as the image.")


def make_slice(padding: int, offset: int) -> slice:
    """Return the slice of a padded side that has the original length and starts ``offset`` after the original.

    It counts from both ends, so that an export needs no sizes.
    """
    return slice(padding + offset, (offset - padding) or None)


def crop_like(x_NCHW: Tensor, like_NCHW: Tensor) -> Tensor:
    """Crop rows and columns at the end, to the height and width of a map with the same batch and channels.

    An export captures this as one operator, so the captured program is the same for every size.
    """
    if torch.compiler.is_exporting():
        return crop_operator(x_NCHW, like_NCHW)  # type: ignore[no-any-return]
    return x_NCHW[..., : like_NCHW.shape[2], : like_NCHW.shape[3]]


# wavepaint.export.to_onnx translates it.
@torch.library.custom_op("wavepaint::crop_like", mutates_args=())
def crop_operator(x: Tensor, like: Tensor) -> Tensor:
    return x[..., : like.shape[2], : like.shape[3]].clone()


@crop_operator.register_fake
def _(x: Tensor, like: Tensor) -> Tensor:
    return x.new_empty(like.shape)
