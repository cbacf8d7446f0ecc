"""Shifted details: fine detail of known pixels, moved into the hole by fixed distances.

A smooth fill gives a hole its colours but no texture, and a network that sees only smooth input there can draw texture
only with the period of its own strides. Photographs often continue the same texture a little further on, so each pixel
of the hole is given the detail found there. Which pixel supplies it depends on the mask only, not on colours: every
engine in every precision chooses the same one.

Idea: Z. Yan et al., "Shift-Net: Image Inpainting via Deep Feature Rearrangement" (2018), which shifts features by
distances found through comparison. This module shifts pixels, by fixed distances.
"""

from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from wavepaint.errors import ConfigError, ImageError
from wavepaint.ops.cells import find_blocks, join_cells, put_cells, split_cells, take_in_turn
from wavepaint.ops.maps import check_maps, check_mask, crop_like

DISTANCES = (24, 48, 80, 128)
"""Pixels between a pixel of the hole and the pixel that supplies its detail, in the order in which they are tried. Each
reaches past another kind of hole: scratches, thin, medium and thick masks. Other sets of four or six distances between
12 and 128 changed LPIPS on photographs by -2 to +3 %, measured when colours still decided which pixel was taken."""

DIRECTIONS = (((0, 1), (0, -1)), ((1, 0), (-1, 0)))
"""Directions (down, right) of each detail, in the order in which they are tried at each distance."""

NUM_DETAILS = len(DIRECTIONS)

CELL_SIDE = 8
"""Pixels. It divides every distance, so a cell of 8x8 pixels is moved as one."""

_OFFSETS = [
    (distance // CELL_SIDE * down, distance // CELL_SIDE * right)
    for directions in DIRECTIONS
    for distance in DISTANCES
    for down, right in directions
]
"""Cells from which a cell takes detail, in the order in which they are tried: for one detail, then for the other."""


def shift_details(filled_NCHW: Tensor, smooth_NChw: Tensor, mask_N1HW: Tensor, scale: int) -> Tensor:
    """Move the detail of known pixels into the hole.

    Args:
        filled_NCHW: The image, with any content in the hole.
        smooth_NChw: The image without its detail, ``scale`` times smaller; sides are rounded up.
        mask_N1HW: 1 = hole.
        scale: A power of 2.

    Returns:
        (N, 2 C, H, W): the difference from the smooth image at the nearest known pixel to the right or left, then at
        the nearest one below or above, among those at :data:`DISTANCES`. 0 where there is none, and outside the hole.

    Raises:
        ConfigError: ``scale`` is not a power of 2.
        ImageError: Wrong number of dimensions or dtype, or sizes that do not match.
    """
    if not isinstance(scale, int) or scale < 1 or scale & (scale - 1):
        raise ConfigError(f"scale is {scale!r}: expected a power of 2.")
    check_maps(filled_NCHW, "the image")
    check_maps(smooth_NChw, "the smooth image")
    check_mask(mask_N1HW, filled_NCHW)
    height, width = filled_NCHW.shape[2:]
    # In an export sizes are symbols.
    if not torch.compiler.is_exporting() and smooth_NChw.shape[2:] != (-(-height // scale), -(-width // scale)):
        raise ImageError(
            f"the smooth image is {tuple(smooth_NChw.shape)}: expected the image's {tuple(filled_NCHW.shape)} with "
            f"sides {scale} times smaller, rounded up."
        )
    smooth = F.interpolate(smooth_NChw, scale_factor=scale, mode="bilinear", align_corners=False)
    known = 1 - mask_N1HW
    source = torch.cat([(filled_NCHW - crop_like(smooth, filled_NCHW)) * known, known], 1)
    below, right = (-side % CELL_SIDE for side in (height, width))
    if below or right:
        source, mask_N1HW = F.pad(source, (0, right, 0, below)), F.pad(mask_N1HW, (0, right, 0, below))
    cells_NhwD = split_cells(source, CELL_SIDE)
    holes_A = find_blocks(F.max_pool2d(mask_N1HW, CELL_SIDE))
    taken = take_in_turn(cells_NhwD, holes_A, 1, [(0, 0), *reversed(_OFFSETS)])
    split = (torch.unflatten(cells_AD, 1, (-1, CELL_SIDE**2)) for cells_AD in taken)  # (A, C + 1, Q)
    own_hole = 1 - next(split)[:, -1:]
    details: list[Tensor] = []
    for _ in DIRECTIONS:
        shifted = torch.zeros_like(own_hole)
        # The first known pixel is added last, and stays. What lies beyond the border counts as hole.
        for cells in islice(split, len(_OFFSETS) // NUM_DETAILS):
            shifted = cells[:, :-1] + (1 - cells[:, -1:]) * shifted
        details.insert(0, own_hole * shifted)
    moved = torch.cat(details, 1).flatten(1)[:, None]
    moved = join_cells(put_cells(moved, holes_A, 1, cells_NhwD), CELL_SIDE)
    return moved[:, :, :height, :width] if below or right else moved
