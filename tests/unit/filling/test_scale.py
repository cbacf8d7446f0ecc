"""Scaling down and up, each compared with an independent computation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wavepaint.runtime.filling.regions import Region
from wavepaint.runtime.filling.scale import downscale, upscale
from wavepaint.runtime.images import arrays


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), factor=st.integers(1, 9), strip=st.sampled_from([1, 10**6]))
def test_downscaling_averages_the_known_pixels_of_a_block(height: int, width: int, factor: int, strip: int) -> None:
    rng = np.random.default_rng(0)
    levels, hole = rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.random((height, width)) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "STRIP_PIXELS", strip)
        image, small_hole = downscale(levels, hole, factor)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            block = np.s_[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            known = ~hole[block]
            assert small_hole[y, x] == (known.mean() < 0.5)
            expected = levels[block][known].mean(axis=0) / 255 if known.any() else 0
            assert np.allclose(image[y, x], expected, atol=1e-5)


def test_downscaling_keeps_16_bits() -> None:
    levels = np.full((4, 4, 1), 40_001, np.uint16)
    image, _ = downscale(levels, np.zeros((4, 4), bool), 2)
    assert image.max() == pytest.approx(40_001 / 65_535, abs=1e-7)


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_a_window_of_an_upscaled_image_is_a_part_of_it(factor: int) -> None:
    small = np.random.default_rng(0).random((20, 30, 2), dtype=np.float32)
    whole = upscale(small, factor, Region(0, 0, 30 * factor, 20 * factor))
    expected = Image.fromarray(small[..., 0]).resize((30 * factor, 20 * factor), Image.Resampling.BICUBIC)
    assert np.allclose(whole[..., 0], np.asarray(expected), atol=1e-6)
    for window in (Region(0, 0, 5, 4), Region(13, 7, 14, 30), Region(20, 11, 30 * factor, 20 * factor)):
        assert np.allclose(upscale(small, factor, window), whole[window.slices], atol=1e-5)
