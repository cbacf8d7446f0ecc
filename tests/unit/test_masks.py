"""Mask generators: what LaMa's settings promise must hold for every mask."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.errors import ConfigError
from wavepaint.training.masks import MASK_KINDS, SETTINGS, MaskKind, random_mask


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(MASK_KINDS), height=st.integers(1, 300), width=st.integers(2, 300), seed=st.integers(0, 999)
)
def test_masks_are_binary_never_empty_and_at_most_half(kind: MaskKind, height: int, width: int, seed: int) -> None:
    mask = random_mask(height, width, (kind,), np.random.default_rng(seed))
    assert mask.shape == (height, width)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    assert 0 < mask.mean() <= 0.5


def test_same_seed_same_mask_other_seed_other_mask() -> None:
    def draw(seed: int) -> np.ndarray:
        return random_mask(128, 128, MASK_KINDS, np.random.default_rng(seed))

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def widest_stroke(mask: np.ndarray) -> float:
    """Diameter of the largest disc that fits into the hole."""
    return 2 * float(cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())


def test_thin_is_thinner_than_medium_than_thick() -> None:
    widths = {
        kind: np.mean([widest_stroke(random_mask(256, 256, (kind,), np.random.default_rng(s))) for s in range(8)])
        for kind in MASK_KINDS
    }
    assert widths["thin"] < widths["medium"] < widths["thick"]
    assert widths["thin"] < 30


def test_settings_are_those_of_the_paper_at_256_pixels() -> None:
    thick, medium, thin = SETTINGS["thick"], SETTINGS["medium"], SETTINGS["thin"]
    assert (thick.strokes.min_strokes, thick.strokes.max_strokes) == (1, 5)
    assert (thick.strokes.max_width, thick.strokes.max_length) == (100, 200)
    assert thick.boxes is not None
    assert (thick.boxes.min_boxes, thick.boxes.max_boxes, thick.boxes.min_side, thick.boxes.max_side) == (1, 3, 30, 150)
    assert (medium.strokes.min_strokes, medium.strokes.max_strokes, medium.strokes.max_width) == (4, 5, 50)
    assert (thin.strokes.min_strokes, thin.strokes.max_strokes, thin.boxes) == (4, 50, None)
    assert thick.box_probability == medium.box_probability == 0.3


@pytest.mark.parametrize("kinds", [(), ("huge",)])
def test_unknown_kinds_are_refused(kinds: tuple[MaskKind, ...]) -> None:
    with pytest.raises(ConfigError, match="--masks"):
        random_mask(64, 64, kinds, np.random.default_rng(0))


def test_a_single_pixel_cannot_be_masked() -> None:
    with pytest.raises(ConfigError, match="too small"):
        random_mask(1, 1, ("thin",), np.random.default_rng(0))
