"""A coarse fill gets the full detail of texture that it copied, and none that it did not copy."""

import numpy as np
import pytest

from wavepaint.ops import shifted_details
from wavepaint.runtime.filling import detail
from wavepaint.runtime.filling.detail import CoarseFill
from wavepaint.runtime.filling.regions import Region
from wavepaint.runtime.filling.scale import downscale

FACTOR = 3
PERIOD = 24 * FACTOR
"""The smallest distance at which texture is looked for, at the full resolution."""

SIDE = 6 * PERIOD
WHOLE = Region(0, 0, SIDE, SIDE)


def make_hole(side: int = SIDE) -> np.ndarray:
    hole = np.zeros((side, side), bool)
    hole[150:281, 170:300] = True
    return hole


def make_texture(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Make noise that repeats at every distance that is tried, except 128 * FACTOR."""
    tile = np.random.default_rng(0).integers(0, 256, (PERIOD, PERIOD, channels))
    return np.tile(tile * (np.iinfo(dtype).max // 255), (6, 6, 1)).astype(dtype)


def make_coarse_fill(levels: np.ndarray, hole: np.ndarray, fill: np.ndarray | None = None) -> CoarseFill:
    """Return a coarse fill, by default that of a network that makes no mistakes: the photo itself."""
    _, small_hole = downscale(levels, hole, FACTOR)
    truth, _ = downscale(levels, np.zeros_like(hole), FACTOR)
    return CoarseFill(levels, hole, truth if fill is None else fill, small_hole, FACTOR)


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (3, np.uint16)])
def test_texture_copied_from_elsewhere_gets_its_full_detail(channels: int, dtype: type) -> None:
    levels, hole = make_texture(channels, dtype), make_hole()
    fill, _ = downscale(levels, np.zeros_like(hole), FACTOR)
    coarse = make_coarse_fill(np.where(hole[..., None], 0, levels).astype(dtype), hole, fill)
    truth = levels / np.iinfo(dtype).max
    smooth = coarse.upscale_fill(WHOLE)
    filled = smooth + coarse.find_detail(WHOLE)
    lost, left = (np.square(truth - values)[hole].mean() for values in (smooth, filled))
    assert left < lost / 30  # gates stay a little below one because of noise
    assert np.array_equal(filled[~hole], smooth[~hole])


def test_a_fill_that_copied_nothing_gets_no_detail() -> None:
    levels, hole = make_texture(), make_hole()
    small, small_hole = downscale(levels, hole, FACTOR)
    grey = np.where(small_hole[..., None], np.float32(0.5), small)
    deep = np.s_[190:240, 210:260]  # nearer to the edge, the edge itself is detail
    assert np.abs(make_coarse_fill(levels, hole, grey).find_detail(WHOLE)[deep]).max() < 0.02
    own = np.random.default_rng(1).normal(0.5, small.std(), small.shape).astype(np.float32)  # a texture of its own
    other = np.where(small_hole[..., None], own, small)
    borrowed, taken = (make_coarse_fill(levels, hole, fill).find_detail(WHOLE)[deep].std() for fill in (other, None))
    assert borrowed < taken / 5


def test_windows_are_parts_of_the_whole() -> None:
    levels = make_texture()[:401, :427]
    hole = np.zeros((401, 427), bool)
    hole[100:300, 0:200] = True
    hole[350:401, 300:427] = True
    coarse = make_coarse_fill(levels, hole)
    whole = coarse.find_detail(Region(0, 0, 427, 401))
    assert np.abs(whole).max() > 0.1
    for window in (Region(0, 100, 427, 131), Region(17, 90, 260, 350), Region(411, 390, 427, 401), Region(0, 0, 9, 9)):
        np.testing.assert_allclose(coarse.find_detail(window), whole[window.slices], atol=1e-5)


def test_without_known_pixels_at_any_distance_there_is_no_detail() -> None:
    side = 23 * FACTOR  # below the smallest distance
    levels, hole = make_texture()[:side, :side], np.ones((side, side), bool)
    hole[:12] = hole[:, :12] = False
    assert not make_coarse_fill(levels, hole).find_detail(Region(0, 0, side, side)).any()


def test_distances_equal_those_of_shifted_details_in_networks() -> None:
    """The runtime works without PyTorch, so it has its own copy of the distances."""
    assert detail.DISTANCES == shifted_details.DISTANCES
    assert detail._DIRECTIONS == shifted_details.DIRECTIONS
