"""Repetition: visible copies in a fill that the photograph does not have."""

import cv2
import numpy as np
import pytest

from wavepaint.errors import ImageError
from wavepaint.metrics.repetition import Repetition, measure_repetition

SIDE = 160
MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[40:120, 80:140] = 1


def draw_shapes(seed: int = 0) -> np.ndarray:
    """Draw filled shapes of random colours and places: (160, 160, 3) uint8, no two places of which are alike."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for _ in range(150):
        centre, radii = rng.integers(0, SIDE, 2), rng.integers(3, 12, 2)
        colour = rng.integers(0, 255, 3).tolist()
        cv2.ellipse(image, centre.tolist(), radii.tolist(), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return image


TRUTH = draw_shapes()


def fill_hole(content: np.ndarray, truth: np.ndarray = TRUTH) -> np.ndarray:
    return np.where(MASK[..., None] > 0, content, truth).astype(np.uint8)


def test_the_photograph_repeats_nothing() -> None:
    assert measure_repetition(TRUTH, TRUTH, MASK).share == 0


def test_copies_of_known_content_are_found_where_they_are() -> None:
    fill = TRUTH.copy()
    fill[40:120, 80:140] = TRUTH[40:120, 20:80]
    found = measure_repetition(TRUTH, fill, MASK)
    assert found.share > 0.5
    assert MASK[tuple(found.copies.T)].all()
    fill[40:80] = TRUTH[40:80]
    rows = measure_repetition(TRUTH, fill, MASK).copies[:, 0]
    assert rows.min() > 70, "the upper half is the photograph's own"


def test_copies_within_the_fill_are_found() -> None:
    fill = fill_hole(draw_shapes(1))
    assert measure_repetition(TRUTH, fill, MASK).share < 0.1
    fill[40:120, 112:140] = fill[40:120, 84:112]
    assert measure_repetition(TRUTH, fill, MASK).share > 0.3


def test_faded_copies_count_less_and_smooth_fills_do_not_count() -> None:
    copy = np.roll(TRUTH, 60, axis=1)
    shares = [
        measure_repetition(
            TRUTH, fill_hole(copy * share + cv2.GaussianBlur(copy, (0, 0), 12) * (1 - share)), MASK
        ).share
        for share in (1, 0.3, 0.1, 0)
    ]
    assert shares[0] > shares[1] > shares[2] > shares[3] == 0


def test_a_texture_that_the_photograph_repeats_may_be_repeated() -> None:
    bricks = np.tile(TRUTH[:32, :32], (5, 5, 1))
    noise = np.random.default_rng(0).normal(0, 6, (2, *bricks.shape))
    truth, fill = (np.clip(bricks + part, 0, 255).astype(np.uint8) for part in noise)
    fill = fill_hole(fill, truth)
    assert measure_repetition(truth, fill, MASK).share < 0.02
    assert measure_repetition(TRUTH, fill_hole(fill), MASK).share > 0.5


def test_a_straight_edge_is_no_copy_but_its_corners_are() -> None:
    truth = np.full((SIDE, SIDE, 3), 60, np.uint8)
    edge = truth.copy()
    edge[:, 110:] = 200
    assert measure_repetition(truth, fill_hole(edge, truth), MASK).share < 0.05
    teeth = truth.copy()
    for top in range(48, 120, 24):
        cv2.fillPoly(teeth, [np.array([[90, top], [130, top + 8], [90, top + 20]])], (220, 220, 220))
    assert measure_repetition(truth, fill_hole(teeth, truth), MASK).share > 0.15


def test_twins_are_12_to_160_pixels_away() -> None:
    wide = np.concatenate([TRUTH, draw_shapes(2)], axis=1)
    mask = np.concatenate([MASK, np.zeros_like(MASK)], axis=1)
    for distance, found in ((150, True), (168, False)):
        fill = wide.copy()
        fill[:, :140][MASK[:, :140] > 0] = wide[:, distance : distance + 140][MASK[:, :140] > 0]
        assert (measure_repetition(wide, fill, mask).share > 0.5) == found


def test_images_smaller_than_a_window_have_no_places() -> None:
    small = np.zeros((16, 40, 3), np.uint8)
    found = measure_repetition(small, small, np.ones((16, 40)))
    assert isinstance(found, Repetition)
    assert (found.num_places, found.share) == (0, 0)


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ImageError, match="expected"):
        measure_repetition(TRUTH, TRUTH[1:], MASK)
