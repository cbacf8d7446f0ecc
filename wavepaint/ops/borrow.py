"""Borrowing texture for a hole: the fine detail of the nearest known pixels to its sides, and above and below.

A smooth fill says what colour a hole has, not what texture; and a network whose input is smooth there can only draw a
texture with the period of its own strides. So it is offered what photographs are full of: the same texture a little
further on. Which pixel is offered depends on the mask alone, not on colours; so all engines in all precisions offer
the same.

Idea: Z. Yan et al., "Shift-Net: Image Inpainting via Deep Feature Rearrangement" (2018), which shifts features, by
distances that it finds by comparing them; here pixels are shifted, by fixed distances.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from wavepaint.errors import ConfigError, ImageError
from wavepaint.ops.maps import check_maps, check_mask

DISTANCES = (24, 48, 80, 128)
"""Pixels between a pixel of the hole and where it borrows from, in the order in which they are tried. Each step
reaches past holes of another kind: scratches, thin, medium and thick masks. Other sets of four or six between 12 and
128 changed LPIPS on photographs by -2 to +3 %; that was measured while offers were still chosen by their colour."""

_DIRECTIONS = (((0, 1), (0, -1)), ((1, 0), (-1, 0)))
"""Of what is offered first and second: (down, right)."""

NUM_OFFERS = len(_DIRECTIONS)


def borrow_detail(filled_NCHW: Tensor, smooth_NChw: Tensor, mask_N1HW: Tensor, scale: int) -> Tensor:
    """Offer known detail to every pixel of the hole.

    Args:
        filled_NCHW: The image, with anything in the hole.
        smooth_NChw: The image without its detail, at a resolution ``scale`` times lower, rounded up.
        mask_N1HW: 1 = hole.
        scale: An integer, as :func:`~wavepaint.ops.pyramid.fill_levels` halves: a power of 2.

    Returns:
        (N, 2 C, H, W): the difference from the smooth image at the nearest known pixel to the right or left, and at
        the nearest above or below, among those at :data:`DISTANCES`. 0 where there is none, and outside the hole.

    Raises:
        ConfigError: ``scale`` is not a power of 2.
        ImageError: Tensors of another kind, or that do not fit the image.
    """
    if not isinstance(scale, int) or scale < 1 or scale & (scale - 1):
        raise ConfigError(f"scale is {scale!r}: expected a power of 2.")
    check_maps(filled_NCHW, "the image")
    check_maps(smooth_NChw, "the smooth image")
    check_mask(mask_N1HW, filled_NCHW)
    height, width = filled_NCHW.shape[2:]
    # Sizes are symbols in an export.
    if not torch.compiler.is_exporting() and smooth_NChw.shape[2:] != (-(-height // scale), -(-width // scale)):
        raise ImageError(
            f"the smooth image is {tuple(smooth_NChw.shape)}: expected the image's {tuple(filled_NCHW.shape)} with "
            f"sides {scale} times smaller, rounded up."
        )
    smooth = F.interpolate(smooth_NChw, scale_factor=scale, mode="bilinear", align_corners=False)
    detail = (filled_NCHW - smooth[..., :height, :width]) * (1 - mask_N1HW)
    far = DISTANCES[-1]
    # Beyond the border everything is hole. Detail is 0 wherever there is hole, so that it need not be masked again.
    source, holes = F.pad(detail, (far, far, far, far)), F.pad(mask_N1HW, (far, far, far, far), value=1)
    offers = []
    for directions in _DIRECTIONS:
        offer, missing = torch.zeros_like(detail), mask_N1HW
        for distance in DISTANCES:
            for down, right in directions:
                top, left = far + distance * down, far + distance * right
                offer = offer + missing * source[:, :, top : top + height, left : left + width]
                missing = missing * holes[:, :, top : top + height, left : left + width]
        offers.append(offer)
    return torch.cat(offers, dim=1)
