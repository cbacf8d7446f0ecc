"""The inputs of WavePaint's modules: the paper's, and this project's additions."""

import torch

from wavepaint.models.inputs import InputBuilder, apply_gates
from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.shifted_details import NUM_DETAILS

KNOWN, MASK = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
MASK[..., 20:40, 8:40] = 1
KNOWN *= 1 - MASK


def test_the_papers_network_sees_the_black_hole_and_the_mask() -> None:
    image, guide, details = InputBuilder()(KNOWN, MASK)
    assert (image is KNOWN, guide is MASK, details) == (True, True, None)


def test_initial_fill_replaces_the_black_hole() -> None:
    image, guide, details = InputBuilder(num_levels=5)(KNOWN, MASK)
    assert torch.equal(image, fill_levels(KNOWN, MASK, 5)[0])
    assert (guide is MASK, details) == (True, None)


def test_gates_scale_the_details_that_follow_the_mask_in_the_guide() -> None:
    _, guide, details = InputBuilder(num_levels=2, with_details=True)(KNOWN, MASK)
    assert details is not None
    assert torch.equal(guide, torch.cat([MASK, details], dim=1))
    output = torch.rand(1, 3 + NUM_DETAILS, 64, 64)
    correction, gates = output[:, :3], output[:, 3:]
    expected = correction + sum(gates[:, n : n + 1] * details[:, 3 * n : 3 * n + 3] for n in range(NUM_DETAILS))
    torch.testing.assert_close(apply_gates(output, details), expected)
    assert apply_gates(correction, None) is correction
