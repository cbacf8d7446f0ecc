"""The initial fill of a hole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.ops.initial_fill import fill_levels


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    levels=st.integers(0, 8),
    seed=st.integers(0, 999),
    share=st.floats(0, 0.99),
)
def test_known_pixels_stay_and_the_fill_lies_between_their_extremes(
    height: int, width: int, levels: int, seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, height, width, generator=generator)
    mask = (torch.rand(2, 1, height, width, generator=generator) < share).float()
    mask[:, :, 0, 0] = 0
    fill = fill_levels(image, mask, levels)[0]
    known = mask.expand_as(image) == 0
    assert torch.equal(fill[known], image[known])
    for index in range(2):
        values = image[index][known[index]]
        assert fill[index].min() >= values.min() - 1e-5
        assert fill[index].max() <= values.max() + 1e-5


@pytest.mark.parametrize("size", [(64, 64), (33, 70)], ids=str)
def test_constant_image_is_restored(size: tuple[int, int]) -> None:
    image = torch.full((1, 3, *size), 0.3)
    mask = torch.zeros(1, 1, *size)
    mask[..., 5:30, 10:50] = 1
    torch.testing.assert_close(fill_levels(image, mask, 6)[0], image, atol=1e-5, rtol=0)


def test_gradient_is_continued_far_better_than_by_its_mean() -> None:
    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 32:96, 32:96] = 1
    error = ((fill_levels(ramp, mask, 7)[0] - ramp).abs() * mask).sum() / mask.sum() / 3
    assert error < 0.05  # the mean colour is off by 0.125 on average


def test_fill_is_black_where_nothing_is_known() -> None:
    assert torch.equal(fill_levels(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8), 3)[0], torch.zeros(1, 3, 8, 8))
