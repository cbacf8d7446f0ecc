"""Regions: together they hold every hole, they never overlap, and they stay near the holes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.runtime.filling.regions import CELL, MIN_CONTEXT, MIN_SIDE, find_regions


@st.composite
def holes(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 900)), draw(st.integers(1, 900))
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(draw(st.integers(1, 6))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 120)), left : left + draw(st.integers(1, 120))] = True
    return mask


@settings(max_examples=80, deadline=None)
@given(mask=holes())
def test_regions_cover_every_hole_once_with_context(mask: np.ndarray) -> None:
    regions = find_regions(mask)
    count = np.zeros(mask.shape, dtype=int)
    for region in regions:
        assert 0 <= region.left < region.right <= mask.shape[1]
        assert 0 <= region.top < region.bottom <= mask.shape[0]
        assert region.width >= min(MIN_SIDE, mask.shape[1])
        assert region.height >= min(MIN_SIDE, mask.shape[0])
        count[region.slices] += 1
        ys, xs = np.nonzero(mask[region.slices])
        assert region.top == 0 or ys.min() >= MIN_CONTEXT
        assert region.left == 0 or xs.min() >= MIN_CONTEXT
        assert region.bottom == mask.shape[0] or region.height - 1 - ys.max() >= MIN_CONTEXT
        assert region.right == mask.shape[1] or region.width - 1 - xs.max() >= MIN_CONTEXT
    assert count.max() == 1
    assert (count[mask] == 1).all()


def test_far_holes_of_a_large_photo_are_separate() -> None:
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[100:120, 100:140] = True
    mask[2900:2950, 3900:3990] = True
    regions = find_regions(mask)
    assert len(regions) == 2
    assert sum(region.width * region.height for region in regions) <= 2 * MIN_SIDE**2 * 1.3


def test_one_stroke_across_many_cells_is_one_region() -> None:
    mask = np.zeros((1000, 1000), dtype=bool)
    index = np.arange(5 * CELL, 20 * CELL)
    mask[index, index] = True
    assert len(find_regions(mask)) == 1


def test_a_hole_at_the_border_still_gets_a_whole_region() -> None:
    mask = np.zeros((193, 40), dtype=bool)
    mask[:128] = True
    assert [(r.top, r.bottom, r.left, r.right) for r in find_regions(mask)] == [(0, 193, 0, 40)]


def test_no_hole_no_region() -> None:
    assert find_regions(np.zeros((10, 10), dtype=bool)) == []
