"""What operators on maps share: checks of their inputs, and operators that depend on a size.

An export captures each of the latter as one operator, so the captured program is the same for every size;
:mod:`wavepaint.export.translations` translates it.
"""

import torch
import torch.nn.functional as F
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
    """Crop rows and columns at the end, to the height and width of a map with the same batch and channels."""
    if torch.compiler.is_exporting():
        return crop_operator(x_NCHW, like_NCHW)  # type: ignore[no-any-return]
    return x_NCHW[..., : like_NCHW.shape[2], : like_NCHW.shape[3]]


@torch.library.custom_op("wavepaint::crop_like", mutates_args=())
def crop_operator(x: Tensor, like: Tensor) -> Tensor:
    return x[..., : like.shape[2], : like.shape[3]].clone()


@crop_operator.register_fake
def _(x: Tensor, like: Tensor) -> Tensor:
    return x.new_empty(like.shape)


def extend(x_NCHW: Tensor, side: int) -> Tensor:
    """Repeat the last row and column until a map is at least ``side`` high and wide."""
    return (extend_operator if torch.compiler.is_exporting() else _extend)(x_NCHW, side)


def _extend(x_NCHW: Tensor, side: int) -> Tensor:
    rows, columns = (max(side - length, 0) for length in x_NCHW.shape[2:])
    return F.pad(x_NCHW, (0, columns, 0, rows), mode="replicate") if rows or columns else x_NCHW


@torch.library.custom_op("wavepaint::extend", mutates_args=())
def extend_operator(x: Tensor, side: int) -> Tensor:
    return _extend(x, side).clone()


@extend_operator.register_fake
def _(x: Tensor, side: int) -> Tensor:
    return x.new_empty(*x.shape[:2], *(torch.sym_max(length, side) for length in x.shape[2:]))  # type: ignore[no-untyped-call]


def number_side(x_NCHW: Tensor, axis: int) -> Tensor:
    """Return 0, 1, ... along an axis of a map, int64."""
    if torch.compiler.is_exporting():
        return number_operator(x_NCHW, axis)  # type: ignore[no-any-return]
    return torch.arange(x_NCHW.shape[axis], device=x_NCHW.device)


@torch.library.custom_op("wavepaint::number_side", mutates_args=())
def number_operator(x: Tensor, axis: int) -> Tensor:
    return torch.arange(x.shape[axis], device=x.device)


@number_operator.register_fake
def _(x: Tensor, axis: int) -> Tensor:
    return x.new_empty(x.shape[axis], dtype=torch.int64)
