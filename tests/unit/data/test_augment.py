"""Augmentation: plain crops equal those of earlier runs, and perspective and colour stay within their limits."""

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wavepaint.data.augment import Augmentation, augment, augment_labelled
from wavepaint.data.local_contrast import equalize_tiles
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
    others=st.sampled_from(
        [
            {},
            {"rotation": 40.0, "shear": 0.1, "lens": 0.05, "local_contrast": 0.5},
            {"rotation": 180.0, "shear": 45.0, "lens": 0.5, "local_contrast": 1.0},
        ]
    ),
    seed=st.integers(0, 99),
)
def test_crop_has_its_size_and_shows_nothing_outside_the_photo(
    width: int,
    height: int,
    size: int,
    low: float,
    span: float,
    colour: float,
    perspective: float,
    others: dict[str, float],
    seed: int,
) -> None:
    chosen = Augmentation(
        crop_size=size, min_scale=low, max_scale=low * span, colour=colour, perspective=perspective, **others
    )
    photo = Image.new("RGB", (width, height), (200, 200, 200))
    crop = augment(photo, chosen, np.random.default_rng(seed))
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert len(np.unique(crop)) == 1, "a uniform photo must stay uniform up to its edges"
    if not colour and "local_contrast" not in others:
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


def test_half_of_the_crops_are_rotated_about_their_centre_by_at_most_the_limit() -> None:
    """On the ramp, the colours of two neighbours give the direction between them."""
    chosen = make(crop_size=33, min_scale=1.0, flip=False, rotation=40.0)
    angles = []
    for seed in range(120):
        crop = augment(ramp(250, 250), chosen, np.random.default_rng(seed)).astype(float)
        left, right = crop[16, 12, :2], crop[16, 20, :2]
        angles.append(np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0])))
        plain = augment(ramp(250, 250), make(crop_size=33, min_scale=1.0, flip=False), np.random.default_rng(seed))
        assert np.abs(crop[16, 16] - plain[16, 16]).max() <= 2
    assert 45 <= sum(abs(angle) > 1 for angle in angles) <= 75
    assert 30 < max(map(abs, angles)) < 46
    assert min(angles) < 0 < max(angles)


def test_a_rotated_crop_continues_the_photo_by_its_mirror_image() -> None:
    photo = ramp(64, 64)
    chosen = make(min_scale=1.0, flip=False, rotation=180.0)
    for seed in range(20):
        crop = augment(photo, chosen, np.random.default_rng(seed))
        assert crop[..., :2].max() <= 64, "the ramp has no other colours"
        assert (crop[..., 2] == 128).all()


def test_shear_moves_the_upper_edge_against_the_lower() -> None:
    chosen, tilts = make(min_scale=1.0, flip=False, shear=20.0), []
    for seed in range(60):
        crop = augment(ramp(250, 250), chosen, np.random.default_rng(seed)).astype(float)
        tilts.append((crop[48, 32, 0] - crop[16, 32, 0]) / 32)
    assert 0.2 < max(tilts) <= np.tan(np.radians(20)) + 0.05
    assert -0.2 > min(tilts) >= -np.tan(np.radians(20)) - 0.05


def test_a_lens_bends_the_corners_and_leaves_the_centre() -> None:
    photo, limit, moves = ramp(200, 200), 0.3, []
    for seed in range(60):
        plain, bent = (
            augment(photo, make(min_scale=1.0, flip=False, lens=strength), np.random.default_rng(seed)).astype(float)
            for strength in (0.0, limit)
        )
        assert np.abs(plain[31:33, 31:33] - bent[31:33, 31:33]).max() <= 1
        moves.append(bent[32, 1, 0] - plain[32, 1, 0])
    # Half a side from the centre, r^2 is 1/4 and the move 0.3 * (1/4 + 1/16) / 2 of the side.
    assert 2 <= max(moves) <= 0.3 * 0.3125 / 2 * 64 + 1
    assert 15 <= sum(abs(move) < 0.3 for move in moves) <= 45


@pytest.mark.parametrize("size", [(256, 256), (64, 100), (50, 33), (3, 5), (1, 1)], ids=str)
def test_local_contrast_equals_opencvs(size: tuple[int, int]) -> None:
    levels = np.random.default_rng(0).integers(60, 140, size).astype(np.uint8)
    for clip in (1.0, 2.5, 4.0):
        expected = cv2.createCLAHE(clip, (8, 8)).apply(levels)
        assert np.array_equal(equalize_tiles(levels, clip), expected)


def test_local_contrast_rises_in_its_share_of_the_crops_and_keeps_grey(photo: np.ndarray) -> None:
    grey = Image.fromarray(photo).convert("L").convert("RGB")
    raised = 0
    for seed in range(40):
        plain, crop = (
            augment(grey, make(flip=False, local_contrast=share), np.random.default_rng(seed)).astype(int)
            for share in (0.0, 0.5)
        )
        assert np.ptp(crop, axis=-1).max() <= 1
        raised += bool(crop.std() > 1.05 * plain.std())
    assert 10 <= raised <= 30


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
        ({"rotation": 181.0}, "--rotation"),
        ({"shear": 46.0}, "--shear"),
        ({"lens": float("nan")}, "--lens"),
        ({"local_contrast": 1.1}, "--local-contrast"),
    ],
)
def test_refused_settings_name_their_flag(changes: dict[str, float], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        make(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"perspective": 0.2},
        {"rotation": 30.0, "shear": 5.0},
        {"lens": 0.05},
        {"colour": 0.3, "local_contrast": 1.0},
    ],
    ids=["crop", "perspective", "rotation", "lens", "colour"],
)
def test_labels_move_with_their_pixels_and_are_never_mixed(changes: dict[str, float]) -> None:
    """Labels 0, 100 and 200 are the bands of a photo, whose blue tells them apart."""
    bands = np.repeat(np.array([0, 100, 200], np.uint8), 40)[None].repeat(90, axis=0)
    bands[30:60] = bands[30:60, ::-1]
    photo = Image.fromarray(np.stack([bands // 4 + 90, bands // 4 + 90, bands // 2 + 70], -1).astype(np.uint8))
    settings_of_run = make(**{"crop_size": 48, "min_scale": 0.4, **changes})
    for seed in range(6):
        crop, labels = augment_labelled(photo, Image.fromarray(bands), settings_of_run, np.random.default_rng(seed))
        assert np.array_equal(crop, augment(photo, settings_of_run, np.random.default_rng(seed)))
        assert (crop.shape, labels.shape, labels.dtype) == ((48, 48, 3), (48, 48), np.uint8)
        assert set(np.unique(labels)) <= {0, 100, 200}
        if "colour" not in changes:
            assert (np.abs(crop[..., 2] - (labels // 2 + 70.0)) < 25).mean() > 0.9
