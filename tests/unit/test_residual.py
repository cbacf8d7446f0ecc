"""Detail for coarse fills: what the fill took from elsewhere it gets whole, and nothing it did not take."""

import numpy as np
import pytest

from wavepaint.ops import shifted_details
from wavepaint.runtime.filling import detail as residual
from wavepaint.runtime.filling.detail import CoarseFill
from wavepaint.runtime.filling.regions import Region
from wavepaint.runtime.filling.scale import downscale

FACTOR = 3
PERIOD = 24 * FACTOR
"""The nearest distance at which texture is looked for, at the full resolution."""

SIDE = 6 * PERIOD
WHOLE = Region(0, 0, SIDE, SIDE)


def make_hole(side: int = SIDE) -> np.ndarray:
    hole = np.zeros((side, side), bool)
    hole[150:281, 170:300] = True
    return hole


def make_texture(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Noise of one pixel that repeats at every distance that is tried (128 * FACTOR aside)."""
    tile = np.random.default_rng(0).integers(0, 256, (PERIOD, PERIOD, channels))
    return np.tile(tile * (np.iinfo(dtype).max // 255), (6, 6, 1)).astype(dtype)


def see(levels: np.ndarray, hole: np.ndarray, fill: np.ndarray | None = None) -> CoarseFill:
    """Return a coarse fill, by default the photo itself: the work of a network that makes no mistakes."""
    _, small_hole = downscale(levels, hole, FACTOR)
    truth, _ = downscale(levels, np.zeros_like(hole), FACTOR)
    return CoarseFill(levels, hole, truth if fill is None else fill, small_hole, FACTOR)


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (3, np.uint16)])
def test_texture_that_was_taken_from_elsewhere_is_had_whole(channels: int, dtype: type) -> None:
    levels, hole = make_texture(channels, dtype), make_hole()
    fill, _ = downscale(levels, np.zeros_like(hole), FACTOR)
    coarse = see(np.where(hole[..., None], 0, levels).astype(dtype), hole, fill)
    truth = levels / np.iinfo(dtype).max
    smooth = coarse.smooth(WHOLE)
    filled = smooth + coarse.detail(WHOLE)
    lost, left = (np.square(truth - values)[hole].mean() for values in (smooth, filled))
    assert left < lost / 30  # shares are a little below one, for the sake of what is noise
    assert np.array_equal(filled[~hole], smooth[~hole])


def test_a_fill_that_took_nothing_gets_nothing() -> None:
    levels, hole = make_texture(), make_hole()
    small, small_hole = downscale(levels, hole, FACTOR)
    grey = np.where(small_hole[..., None], np.float32(0.5), small)
    deep = np.s_[190:240, 210:260]  # nearer to the edge the detail is that of the edge
    assert np.abs(see(levels, hole, grey).detail(WHOLE)[deep]).max() < 0.02
    own = np.random.default_rng(1).normal(0.5, small.std(), small.shape).astype(np.float32)  # a texture of its own
    other = np.where(small_hole[..., None], own, small)
    borrowed, taken = (see(levels, hole, fill).detail(WHOLE)[deep].std() for fill in (other, None))
    assert borrowed < taken / 5


def test_windows_are_parts_of_the_whole() -> None:
    levels = make_texture()[:401, :427]
    hole = np.zeros((401, 427), bool)
    hole[100:300, 0:200] = True
    hole[350:401, 300:427] = True
    coarse = see(levels, hole)
    whole = coarse.detail(Region(0, 0, 427, 401))
    assert np.abs(whole).max() > 0.1
    for window in (Region(0, 100, 427, 131), Region(17, 90, 260, 350), Region(411, 390, 427, 401), Region(0, 0, 9, 9)):
        np.testing.assert_allclose(coarse.detail(window), whole[window.slices], atol=1e-5)


def test_where_nothing_is_known_at_any_distance_the_fill_stays() -> None:
    side = 23 * FACTOR  # less than the least distance
    levels, hole = make_texture()[:side, :side], np.ones((side, side), bool)
    hole[:12] = hole[:, :12] = False
    assert not see(levels, hole).detail(Region(0, 0, side, side)).any()


def test_it_looks_where_networks_borrow() -> None:
    """Runtimes do without PyTorch, so the distances are written down twice."""
    assert residual.DISTANCES == shifted_details.DISTANCES
    assert residual._DIRECTIONS == shifted_details.DIRECTIONS
