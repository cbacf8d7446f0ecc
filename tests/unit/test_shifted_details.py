"""Borrowed detail: which pixel is offered where, and what that must not depend on."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.ops.pyramid import fill_levels
from wavepaint.ops.shifted_details import DISTANCES, NUM_DETAILS, shift_details

Array = npt.NDArray[np.float32]


def offer_by_definition(detail: Array, hole: npt.NDArray[np.bool_], *, vertical: bool) -> Array:
    """Pixel by pixel: the first distance at which one side is known; right before left, below before above."""
    offer = np.zeros_like(detail)
    for y, x in zip(*np.nonzero(hole), strict=True):
        places = [(y + s * vertical, x + s * (not vertical)) for d in DISTANCES for s in (d, -d)]
        inside = [(v, u) for v, u in places if 0 <= v < hole.shape[0] and 0 <= u < hole.shape[1] and not hole[v, u]]
        if inside:
            offer[:, y, x] = detail[:, inside[0][0], inside[0][1]]
    return offer


@pytest.mark.parametrize("size", [(96, 160), (150, 61), (32, 32), (9, 300)], ids=str)
def test_offers_are_the_nearest_known_detail_in_a_row_and_in_a_column(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, *size, generator=generator)
    mask = torch.zeros(2, 1, *size)
    mask[0, :, : size[0] // 2, size[1] // 4 :] = 1
    mask[1] = (torch.rand(1, *size, generator=generator) < 0.8).float()
    filled, *_, smooth = fill_levels(image, mask, 3)
    offers = shift_details(filled, smooth, mask, 8)
    assert offers.shape == (2, 3 * NUM_DETAILS, *size)
    enlarged = torch.nn.functional.interpolate(smooth, scale_factor=8, mode="bilinear")[..., : size[0], : size[1]]
    for n in range(2):
        detail, hole = (filled - enlarged)[n].numpy(), mask[n, 0].numpy() > 0
        for index, vertical in enumerate((False, True)):
            expected = offer_by_definition(detail, hole, vertical=vertical)
            # A known pixel's detail is taken as it is: nothing but zeros is added to it.
            np.testing.assert_array_equal(offers[n, 3 * index : 3 * index + 3].numpy(), expected)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_nothing_is_offered_outside_the_hole_or_from_inside_it(
    height: int, width: int, seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, height, width, generator=generator)
    mask = (torch.rand(1, 1, height, width, generator=generator) < share).float()
    scribbled = torch.where(mask > 0, torch.rand(1, 3, height, width, generator=generator), image)
    filled, smooth = (levels := fill_levels(image, mask, 4))[0], levels[-1]
    offers = shift_details(filled, smooth, mask, 16)
    assert not offers[(mask == 0).expand_as(offers)].any()
    assert offers.isfinite().all()
    again = fill_levels(scribbled, mask, 4)
    assert torch.equal(shift_details(again[0], again[-1], mask, 16), offers)


def test_a_smooth_image_offers_nothing_and_a_texture_itself() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 40:80, 40:80] = 1
    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    levels = fill_levels(ramp, mask, 4)
    # Not 0: of a cell that the hole cuts the average is that of its other part, up to 8 of 128 pixels further on.
    assert shift_details(levels[0], levels[4], mask, 16).abs().max() < 8 / 128
    row = torch.arange(128) // 4 % 2 * 0.4 + 0.3  # stripes of a period that divides every distance
    stripes = row.expand(1, 3, 128, 128).contiguous()
    levels = fill_levels(stripes, mask, 4)
    restored = levels[0] + shift_details(levels[0], levels[4], mask, 16)[:, :3]
    without, with_detail = (((image - stripes).abs() * mask).sum() for image in (levels[0], restored))
    assert with_detail < 0.3 * without


def test_what_is_offered_depends_on_the_mask_alone_so_rounding_never_changes_it() -> None:
    """Half precision moves values by its rounding, not to another place."""
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, 96, 96, generator=generator)
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 20:70, 30:60] = 1
    filled, *_, smooth = fill_levels(image, mask, 4)
    offers = shift_details(filled, smooth, mask, 16)
    half = shift_details(filled.half(), smooth.half(), mask.half(), 16)
    torch.testing.assert_close(half.float(), offers, atol=2e-3, rtol=0)  # two roundings of values up to 1, at 2^-11
