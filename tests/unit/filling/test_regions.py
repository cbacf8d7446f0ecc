"""Regions contain every hole with context, never overlap and stay near the holes."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.unit.filling.masks import draw_masks
from wavepaint.runtime.filling.regions import CELL, MIN_CONTEXT, MIN_SIDE, find_regions, measure_thickness


@settings(max_examples=60, deadline=None)
@given(mask=draw_masks(largest=900))
def test_regions_contain_every_hole_once_with_context(mask: np.ndarray) -> None:
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


def test_distant_holes_of_a_large_photo_are_separate() -> None:
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[100:120, 100:140] = True
    mask[2900:2950, 3900:3990] = True
    regions = find_regions(mask)
    assert len(regions) == 2
    assert sum(region.num_pixels for region in regions) <= 2 * MIN_SIDE**2 * 1.3


def test_one_stroke_across_many_cells_is_one_region() -> None:
    mask = np.zeros((1000, 1000), dtype=bool)
    index = np.arange(5 * CELL, 20 * CELL)
    mask[index, index] = True
    assert len(find_regions(mask)) == 1


def test_a_hole_at_the_border_still_gets_a_whole_region() -> None:
    mask = np.zeros((193, 40), dtype=bool)
    mask[:128] = True
    assert [(r.top, r.bottom, r.left, r.right) for r in find_regions(mask)] == [(0, 193, 0, 40)]


def test_a_mask_without_a_hole_has_no_region() -> None:
    assert find_regions(np.zeros((10, 10), dtype=bool)) == []


@settings(max_examples=40, deadline=None)
@given(hole=draw_masks(largest=60))
def test_thickness_is_the_side_of_the_largest_square(hole: np.ndarray) -> None:
    best = np.zeros(np.array(hole.shape) + 1, int)
    for y, x in np.argwhere(hole):
        best[y + 1, x + 1] = 1 + min(best[y, x + 1], best[y + 1, x], best[y, x])
    assert measure_thickness(hole) == best.max()


def test_thickness_of_large_holes_is_nearly_right() -> None:
    hole = np.zeros((5000, 7000), bool)
    hole[123:2456, 789:6000] = True
    assert measure_thickness(hole) == pytest.approx(2333, abs=15)


@pytest.mark.parametrize("side", [100, 300, 380])
@pytest.mark.parametrize("only", [512, 500])
def test_a_hole_gets_a_region_of_the_only_size_that_a_network_takes(side: int, only: int) -> None:
    mask = np.zeros((1003, 1501), dtype=bool)
    mask[600 : 600 + side, -side - 10 : -10] = True
    (region,) = find_regions(mask, least=(only, only), most=(only, only))
    if side + 2 * MIN_CONTEXT <= only:
        assert (region.width, region.height) == (only, only)
    else:  # scaled down or cut into tiles
        assert min(region.width, region.height) >= side + MIN_CONTEXT


def test_the_margin_is_full_where_the_network_takes_any_size() -> None:
    mask = np.zeros((2000, 2000), dtype=bool)
    mask[800:1200, 800:1200] = True
    (region,) = find_regions(mask)
    assert (region.left, region.right) == (584, 1416)
