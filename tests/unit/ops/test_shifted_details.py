"""Shifted details: which pixel supplies the detail, and what must not influence the choice."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.shifted_details import DISTANCES, NUM_DETAILS, shift_details

Array = npt.NDArray[np.float32]


def shift_by_definition(detail: Array, hole: npt.NDArray[np.bool_], *, vertical: bool) -> Array:
    """Pixel by pixel, take the first distance with a known pixel: right before left, below before above."""
    shifted = np.zeros_like(detail)
    for y, x in zip(*np.nonzero(hole), strict=True):
        places = [(y + s * vertical, x + s * (not vertical)) for d in DISTANCES for s in (d, -d)]
        inside = [(v, u) for v, u in places if 0 <= v < hole.shape[0] and 0 <= u < hole.shape[1] and not hole[v, u]]
        if inside:
            shifted[:, y, x] = detail[:, inside[0][0], inside[0][1]]
    return shifted


@pytest.mark.parametrize("size", [(96, 160), (150, 61), (32, 32), (9, 300)], ids=str)
def test_details_come_from_the_nearest_known_pixel_in_row_and_column(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, *size, generator=generator)
    mask = torch.zeros(2, 1, *size)
    mask[0, :, : size[0] // 2, size[1] // 4 :] = 1
    mask[1] = (torch.rand(1, *size, generator=generator) < 0.8).float()
    filled, *_, smooth = fill_levels(image, mask, 3)
    details = shift_details(filled, smooth, mask, 8)
    assert details.shape == (2, 3 * NUM_DETAILS, *size)
    upscaled = torch.nn.functional.interpolate(smooth, scale_factor=8, mode="bilinear")[..., : size[0], : size[1]]
    for n in range(2):
        detail, hole = (filled - upscaled)[n].numpy(), mask[n, 0].numpy() > 0
        for index, vertical in enumerate((False, True)):
            expected = shift_by_definition(detail, hole, vertical=vertical)
            # Equal, because only zeros are added to a known pixel's detail.
            np.testing.assert_array_equal(details[n, 3 * index : 3 * index + 3].numpy(), expected)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_no_detail_goes_outside_the_hole_or_comes_from_inside_it(
    height: int, width: int, seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, height, width, generator=generator)
    mask = (torch.rand(1, 1, height, width, generator=generator) < share).float()
    scribbled = torch.where(mask > 0, torch.rand(1, 3, height, width, generator=generator), image)
    filled, smooth = (levels := fill_levels(image, mask, 4))[0], levels[-1]
    details = shift_details(filled, smooth, mask, 16)
    assert not details[(mask == 0).expand_as(details)].any()
    assert details.isfinite().all()
    again = fill_levels(scribbled, mask, 4)
    assert torch.equal(shift_details(again[0], again[-1], mask, 16), details)


def test_smooth_image_has_no_details_and_a_texture_continues() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 40:80, 40:80] = 1
    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    levels = fill_levels(ramp, mask, 4)
    # Not 0: a cell that the hole cuts has the average of its other part, up to 8 of 128 pixels away.
    assert shift_details(levels[0], levels[4], mask, 16).abs().max() < 8 / 128
    row = torch.arange(128) // 4 % 2 * 0.4 + 0.3  # stripes whose period divides every distance
    stripes = row.expand(1, 3, 128, 128).contiguous()
    levels = fill_levels(stripes, mask, 4)
    restored = levels[0] + shift_details(levels[0], levels[4], mask, 16)[:, :3]
    without, with_detail = (((image - stripes).abs() * mask).sum() for image in (levels[0], restored))
    assert with_detail < 0.3 * without


def test_half_precision_takes_the_same_pixels() -> None:
    """The choice depends only on the mask, so rounding cannot change it."""
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, 96, 96, generator=generator)
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 20:70, 30:60] = 1
    filled, *_, smooth = fill_levels(image, mask, 4)
    details = shift_details(filled, smooth, mask, 16)
    half = shift_details(filled.half(), smooth.half(), mask.half(), 16)
    torch.testing.assert_close(half.float(), details, atol=2e-3, rtol=0)  # two roundings of values up to 1, at 2^-11
