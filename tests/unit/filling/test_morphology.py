"""Growing, eroding and softening, each compared with an independent computation."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.runtime.filling.morphology import erode, grow_hole, soften_edge
from wavepaint.runtime.filling.regions import Region


@settings(max_examples=30, deadline=None)
@given(distance=st.integers(1, 64), seed=st.integers(0, 999))
def test_holes_grow_by_a_nearly_euclidean_distance(distance: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hole = np.zeros((rng.integers(1, 400), rng.integers(1, 400)), bool)
    for _ in range(3):
        hole[rng.integers(hole.shape[0]), rng.integers(hole.shape[1])] = True
    grown = grow_hole(hole, distance)
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert grown[away <= distance * 0.99].all()
    assert not grown[away > distance * 1.12 + 1].any()
    assert np.array_equal(grow_hole(hole, 0), hole)


def test_pixels_beyond_the_borders_do_not_erode_a_mask() -> None:
    hole = np.zeros((100, 100), bool)
    hole[:, :50] = True
    assert np.array_equal(np.flatnonzero(erode(hole, 10)[50]), np.arange(40))


def test_softening_goes_from_the_valid_image_to_the_fill() -> None:
    levels = np.zeros((40, 40, 3), np.uint8)
    hole = np.zeros((40, 40), bool)
    hole[10:30, 10:30] = True
    fill = np.ones((40, 40, 3), np.float32)
    window = Region(0, 0, 40, 40)
    marked = np.zeros_like(hole)
    marked[14:26, 14:26] = True
    soft = soften_edge(fill, levels, hole, ~marked, window, 4)
    assert soft[20, 9:15, 0].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    part = Region(3, 12, 25, 17)
    assert np.allclose(soften_edge(fill[part.slices], levels, hole, ~marked, part, 4), soft[part.slices])
    levels[10:30, 10:30] = 51
    soft = soften_edge(fill, levels, hole, ~marked, window, 4)
    assert soft[20, 10, 0] == pytest.approx(0.2 * 1 + 0.8 * 0.2)
    # Without a ring there is no valid photo to blend with.
    assert (soften_edge(fill, levels, hole, ~hole, window, 4)[hole] == 1).all()
