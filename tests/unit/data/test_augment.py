"""Augmentation: plain crops equal those of earlier runs, and perspective and colour stay within their limits."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wavepaint.data.augment import Augmentation, augment
from wavepaint.errors import ConfigError

PLAIN = Augmentation(crop_size=64, min_scale=0.25, max_scale=1.0)


def make(**changes: float | bool) -> Augmentation:
    return Augmentation(**{"crop_size": 64, "min_scale": 0.25, "max_scale": 1.0, **changes})  # type: ignore[arg-type]


def ramp(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards, both by one level in a pixel."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], -1).astype(np.uint8))


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.integers(1, 100),
    low=st.floats(0.01, 3),
    span=st.floats(1, 4),
    colour=st.sampled_from([0.0, 0.2, 0.9]),
    perspective=st.sampled_from([0.0, 0.06, 0.25]),
    seed=st.integers(0, 99),
)
def test_crop_has_its_size_and_shows_nothing_outside_the_photo(
    width: int, height: int, size: int, low: float, span: float, colour: float, perspective: float, seed: int
) -> None:
    chosen = Augmentation(crop_size=size, min_scale=low, max_scale=low * span, colour=colour, perspective=perspective)
    photo = Image.new("RGB", (width, height), (200, 200, 200))
    crop = augment(photo, chosen, np.random.default_rng(seed))
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert len(np.unique(crop)) == 1, "a uniform photo must stay uniform up to its edges"
    if not colour:
        assert crop[0, 0, 0] == 200


def test_plain_crops_equal_those_of_earlier_runs(photo: np.ndarray) -> None:
    crops = [augment(Image.fromarray(photo), PLAIN, np.random.default_rng(seed)) for seed in range(6)]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(crop).tobytes() for crop in crops)).hexdigest()
    assert digest[:16] == "1b862c37b79fdfd7"


def test_flip_mirrors_half_of_the_crops() -> None:
    def count_mirrored(chosen: Augmentation) -> int:
        crops = [augment(ramp(200, 200), chosen, np.random.default_rng(seed)) for seed in range(100)]
        return sum(bool(crop[0, 0, 0] > crop[0, -1, 0]) for crop in crops)

    assert count_mirrored(make(flip=False)) == 0
    assert 35 <= count_mirrored(PLAIN) <= 65


def test_scales_stay_in_bounds_and_spread_over_octaves() -> None:
    scales = []
    for seed in range(200):
        crop = augment(ramp(250, 250), make(crop_size=32, flip=False), np.random.default_rng(seed)).astype(float)
        scales.append(31 / (crop[0, -1, 0] - crop[0, 0, 0]))
    assert 0.23 < min(scales) < 0.3
    assert 0.9 < max(scales) < 1.05
    assert 0.4 < np.mean(np.array(scales) < 0.5) < 0.6


def test_tiny_perspective_equals_the_plain_crop() -> None:
    chosen = make(min_scale=1.0, flip=False)
    plain = augment(ramp(200, 180), chosen, np.random.default_rng(1))
    moved = augment(ramp(200, 180), make(min_scale=1.0, flip=False, perspective=1e-9), np.random.default_rng(1))
    assert np.abs(plain[2:-2, 2:-2].astype(int) - moved[2:-2, 2:-2]).max() <= 1


def test_perspective_moves_corners_inwards_by_at_most_its_share() -> None:
    """On the ramp, the colour of a pixel encodes its origin."""
    moves = []
    for seed in range(50):
        before = augment(ramp(250, 250), make(min_scale=1.0, flip=False), np.random.default_rng(seed)).astype(int)
        after = augment(
            ramp(250, 250), make(min_scale=1.0, flip=False, perspective=0.1), np.random.default_rng(seed)
        ).astype(int)
        for (row, column), signs in zip(((0, 0), (0, -1), (-1, -1), (-1, 0)), ((1, 1), (-1, 1), (-1, -1), (1, -1)),
                                        strict=True):  # fmt: skip
            moves += [(after[row, column, i] - before[row, column, i]) * signs[i] / 64 for i in range(2)]
    assert min(moves) > -0.03
    assert 0.08 < max(moves) < 0.13
    assert np.mean(moves) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("perspective", [0.0, 0.05])
def test_downscaled_fine_patterns_become_uniform(perspective: float) -> None:
    board = np.indices((400, 400)).sum(0) % 2 * 255
    photo = Image.fromarray(np.repeat(board[..., None], 3, -1).astype(np.uint8))
    chosen = make(min_scale=0.25, max_scale=0.3, perspective=perspective)
    for seed in range(8):
        assert augment(photo, chosen, np.random.default_rng(seed)).std() < 12


def test_colour_changes_brightness_by_at_most_its_share() -> None:
    photo = Image.new("RGB", (100, 100), (100, 100, 100))
    levels = [augment(photo, make(colour=0.2), np.random.default_rng(seed))[0, 0].mean() for seed in range(200)]
    assert 79 <= min(levels) < 85
    assert 115 < max(levels) <= 121
    assert np.mean(levels) == pytest.approx(100, abs=2)


def test_colour_changes_hue_and_saturation_but_keeps_grey(photo: np.ndarray) -> None:
    grey = Image.fromarray(photo).convert("L").convert("RGB")
    for seed in range(5):
        crop = augment(grey, make(colour=0.5), np.random.default_rng(seed)).astype(int)
        assert np.ptp(crop, axis=-1).max() <= 1
    red = Image.new("RGB", (100, 100), (200, 60, 60))
    crops = [augment(red, make(colour=0.2), np.random.default_rng(seed))[0, 0].astype(int) for seed in range(50)]
    hues = [int(crop[1] - crop[2]) for crop in crops]
    assert min(hues) < -10
    assert max(hues) > 10
    assert all(crop[0] > crop[1] and crop[0] > crop[2] for crop in crops)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"crop_size": 0}, "--crop-size"),
        ({"min_scale": 0.0}, "--min-scale"),
        ({"min_scale": float("nan")}, "--min-scale"),
        ({"max_scale": 0.1}, "--max-scale"),
        ({"colour": 1.0}, "--colour"),
        ({"perspective": 0.3}, "--perspective"),
        ({"perspective": -0.1}, "--perspective"),
    ],
)
def test_refused_settings_name_their_flag(changes: dict[str, float], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        make(**changes)
