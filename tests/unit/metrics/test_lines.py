"""Lines joined: straight edges that a hole interrupts, and whether a fill continues them."""

import cv2
import numpy as np
import pytest

from wavepaint.errors import ImageError
from wavepaint.metrics.lines import find_lines, measure_lines

SIDE = 128
MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[40:88, 44:84] = 1


def draw_step(degrees: float, shift: float = 0) -> np.ndarray:
    """Draw two grey levels that meet in a straight edge through the middle: (128, 128, 3) uint8."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    turn = np.radians(degrees)
    distance = columns * np.sin(turn) - rows * np.cos(turn) - shift
    return np.repeat((90 + 90 * np.clip(distance + 0.5, 0, 1))[..., None], 3, axis=2).astype(np.uint8)


def fill_hole(truth: np.ndarray, content: np.ndarray) -> np.ndarray:
    return np.where(MASK[..., None] > 0, content, truth).astype(np.uint8)


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 128, 201, 300])
def test_a_straight_edge_is_one_line_with_its_ends_and_its_brighter_side(degrees: float) -> None:
    (line,) = find_lines(draw_step(degrees))
    assert line.length == pytest.approx(
        SIDE / max(abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))), abs=4
    )
    brighter = np.array((-np.cos(np.radians(degrees)), np.sin(np.radians(degrees))))
    assert line.normal == pytest.approx(brighter, abs=0.02)
    assert abs((line.start - (SIDE - 1) / 2) @ line.normal) < 1


def test_the_sides_of_a_polygon_are_found() -> None:
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    cv2.fillPoly(image, [np.array([[10, 10], [110, 30], [90, 100], [20, 80]])], (200, 180, 160), cv2.LINE_AA)
    lengths = sorted((line.length for line in find_lines(image)), reverse=True)
    assert lengths == pytest.approx([102, 73, 73, 71], abs=8)


def test_noise_and_smooth_images_have_no_lines() -> None:
    rng = np.random.default_rng(0)
    assert find_lines(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)) == []
    assert find_lines(np.full((SIDE, SIDE, 3), 0.5)) == []


@pytest.mark.parametrize("degrees", [0, 31, 90, 140])
def test_the_photograph_joins_its_lines_and_soft_fills_do_not(degrees: float) -> None:
    truth = draw_step(degrees)
    assert measure_lines(truth, truth, MASK) == (1, 1, 1)
    blurred = fill_hole(truth, cv2.GaussianBlur(truth, (0, 0), 8))
    assert measure_lines(truth, blurred, MASK)[:2] == (1, 0)
    noise = np.random.default_rng(0).integers(0, 255, truth.shape)
    num_lines, num_joined, continued = measure_lines(truth, fill_hole(truth, noise), MASK)
    assert (num_lines, num_joined) == (1, 0)
    assert continued < 0.4


def test_an_edge_may_be_two_pixels_away_and_have_half_the_contrast() -> None:
    truth = draw_step(20)
    joined = {shift: measure_lines(truth, fill_hole(truth, draw_step(20, shift)), MASK)[1] for shift in (2, -2, 6, -6)}
    assert joined == {2: 1, -2: 1, 6: 0, -6: 0}
    weak = {share: fill_hole(truth, truth * share + 135 * (1 - share)) for share in (0.6, 0.4)}
    assert {share: measure_lines(truth, fill, MASK)[1] for share, fill in weak.items()} == {0.6: 1, 0.4: 0}


def test_an_edge_of_another_direction_or_inverted_is_not_joined() -> None:
    truth = draw_step(0)
    for other in (draw_step(50), draw_step(90), draw_step(180)):
        assert measure_lines(truth, fill_hole(truth, other), MASK)[1] == 0


def test_a_line_that_is_broken_for_a_third_of_the_hole_is_continued_in_part() -> None:
    truth = draw_step(90)
    fill = truth.copy()
    fill[56:72] = 130
    num_lines, num_joined, continued = measure_lines(truth, fill, MASK)
    assert (num_lines, num_joined) == (1, 0)
    assert 0.55 < continued < 0.8


def test_only_lines_with_both_ends_in_the_known_part_count() -> None:
    truth = draw_step(90)
    mask = np.zeros_like(MASK)
    mask[:60] = 1
    assert measure_lines(truth, truth, mask) == (0, 0, 0)
    mask[:4] = 0
    assert measure_lines(truth, truth, mask) == (0, 0, 0)
    mask[:12] = 0
    assert measure_lines(truth, truth, mask) == (1, 1, 1)


def test_bytes_and_floats_give_the_same_score() -> None:
    truth = draw_step(75)
    fill = fill_hole(truth, cv2.GaussianBlur(truth, (0, 0), 2))
    assert measure_lines(truth, fill, MASK) == measure_lines(truth / 255, fill / 255, MASK)


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    truth = draw_step(0)
    for fill, mask in ((truth[:-1], MASK), (truth / 255, MASK), (truth, MASK[None]), (truth, MASK[:-1])):
        with pytest.raises(ImageError, match="expected"):
            measure_lines(truth, fill, mask)
