"""Scaling, growing and softening, each against an independent way to the same result."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wavepaint.runtime.filling.regions import Region
from wavepaint.runtime.filling.scale import downscale, erode, grow_hole, soften_edge, upscale
from wavepaint.runtime.images import arrays as strips


def random_photo(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.random((height, width)) < 0.5


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50), factor=st.integers(1, 9), strip=st.sampled_from([1, 10**6]))
def test_reducing_is_the_mean_of_the_known_pixels_of_a_block(height: int, width: int, factor: int, strip: int) -> None:
    levels, hole = random_photo(height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "STRIP_PIXELS", strip)
        image, small_hole = downscale(levels, hole, factor)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            block = np.s_[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            known = ~hole[block]
            assert small_hole[y, x] == (known.mean() < 0.5)
            expected = levels[block][known].mean(axis=0) / 255 if known.any() else 0
            assert np.allclose(image[y, x], expected, atol=1e-5)


def test_reducing_keeps_16_bits() -> None:
    levels = np.full((4, 4, 1), 40_001, np.uint16)
    image, _ = downscale(levels, np.zeros((4, 4), bool), 2)
    assert image.max() == pytest.approx(40_001 / 65_535, abs=1e-7)


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_a_window_of_an_enlarged_image_is_a_part_of_it(factor: int) -> None:
    small = np.random.default_rng(0).random((20, 30, 2), dtype=np.float32)
    whole = upscale(small, factor, Region(0, 0, 30 * factor, 20 * factor))
    expected = Image.fromarray(small[..., 0]).resize((30 * factor, 20 * factor), Image.Resampling.BICUBIC)
    assert np.allclose(whole[..., 0], np.asarray(expected), atol=1e-6)
    for window in (Region(0, 0, 5, 4), Region(13, 7, 14, 30), Region(20, 11, 30 * factor, 20 * factor)):
        assert np.allclose(upscale(small, factor, window), whole[window.slices], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(distance=st.integers(1, 64), seed=st.integers(0, 999))
def test_holes_grow_by_a_distance_that_is_nearly_euclidean(distance: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hole = np.zeros((rng.integers(1, 400), rng.integers(1, 400)), bool)
    for _ in range(3):
        hole[rng.integers(hole.shape[0]), rng.integers(hole.shape[1])] = True
    grown = grow_hole(hole, distance)
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert grown[away <= distance * 0.99].all()
    assert not grown[away > distance * 1.12 + 1].any()
    assert np.array_equal(grow_hole(hole, 0), hole)


def test_beyond_the_borders_nothing_is_known() -> None:
    hole = np.zeros((100, 100), bool)
    hole[:, :50] = True
    assert np.array_equal(np.flatnonzero(erode(hole, 10)[50]), np.arange(40))


def test_softening_goes_from_the_valid_image_to_the_fill() -> None:
    levels = np.zeros((40, 40, 3), np.uint8)
    hole = np.zeros((40, 40), bool)
    hole[10:30, 10:30] = True
    fill = np.ones((40, 40, 3), np.float32)
    window = Region(0, 0, 40, 40)
    asked = np.zeros_like(hole)
    asked[14:26, 14:26] = True
    soft = soften_edge(fill, levels, hole, ~asked, window, 4)
    assert soft[20, 9:15, 0].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    part = Region(3, 12, 25, 17)
    assert np.allclose(soften_edge(fill[part.slices], levels, hole, ~asked, part, 4), soft[part.slices])
    levels[10:30, 10:30] = 51
    soft = soften_edge(fill, levels, hole, ~asked, window, 4)
    assert soft[20, 10, 0] == pytest.approx(0.2 * 1 + 0.8 * 0.2)
    # Without a ring there is nothing to lead over into: the mean of what is around would draw a frame.
    assert (soften_edge(fill, levels, hole, ~hole, window, 4)[hole] == 1).all()
