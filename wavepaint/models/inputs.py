"""This project's additions to the paper's WavePaint: an initial fill of the hole, and details to add to it.

The paper's network starts from a black hole. With :class:`InputBuilder` it starts from a smooth fill, and it can see
details of the photograph that were moved into the hole: shifted by fixed distances, and from places that match. For
each detail every module predicts a gate (N, 1, H, W): how much of that detail to add, pixel by pixel.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.matched_details import match_details
from wavepaint.ops.shifted_details import shift_details

SMOOTH_LEVEL = 4
"""Detail is the difference from the initial fill at this level, whose cells have 16x16 pixels."""

INITIAL_GATE = 0.7
"""Gate of the matched detail in an untrained network, or of the horizontally shifted one if there is no matched one.
The others start at 0. Among five pairs of gates of shifted details, this one gave the lowest LPIPS in medium and thick
holes: 0.274 and 0.336 with a network trained for L1 only, which has 0.343 and 0.490 without details."""


class Inputs(NamedTuple):
    """The inputs of WavePaint's modules.

    Attributes:
        image: (N, 3, H, W), for the first module.
        guide: (N, G, H, W), for every module: the mask, then the details. G is 1 + 3 B for B details.
        details: The two shifted details, then the matched one (N, 3 B, H, W); None if B is 0.
    """

    image: Tensor
    guide: Tensor
    details: Tensor | None


@dataclass(frozen=True, kw_only=True)
class InputBuilder:
    """Builds the inputs of the first module. It has no weights.

    Attributes:
        num_levels: Levels of the initial fill (:func:`~wavepaint.ops.initial_fill.fill_levels`). 0 leaves the hole
            black, as in the paper.
        with_details: Add shifted details. Needs one level or more.
        with_matches: Add the matched detail. Needs shifted details and four levels or more.
    """

    num_levels: int = 0
    with_details: bool = False
    with_matches: bool = False

    def __call__(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Inputs:
        if not self.num_levels:
            return Inputs(known_NCHW, mask_N1HW, None)
        fills = fill_levels(known_NCHW, mask_N1HW, self.num_levels)
        filled_NCHW = fills[0]
        if not self.with_details:
            return Inputs(filled_NCHW, mask_N1HW, None)
        level = min(SMOOTH_LEVEL, self.num_levels)
        details_NBHW = shift_details(filled_NCHW, fills[level], mask_N1HW, 2**level)
        if self.with_matches:
            matched_NCHW = match_details(fills, mask_N1HW, details_NBHW)
            details_NBHW = torch.cat([details_NBHW, matched_NCHW], dim=1)
        return Inputs(filled_NCHW, torch.cat([mask_N1HW, details_NBHW], dim=1), details_NBHW)


def apply_gates(output_NCHW: Tensor, details_NBHW: Tensor | None) -> Tensor:
    """Add the gated details to a module's correction.

    Args:
        output_NCHW: A module's output (N, 3 + B, H, W): the correction of the image, then a gate for each detail.
        details_NBHW: Details (N, 3 B, H, W). If None, B is 0 and the output is the correction itself.

    Returns:
        (N, 3, H, W)
    """
    if details_NBHW is None:
        return output_NCHW
    total = output_NCHW[:, :3]
    for n in range(details_NBHW.shape[1] // 3):
        total = output_NCHW[:, 3 + n : 4 + n] * details_NBHW[:, 3 * n : 3 * n + 3] + total
    return total
