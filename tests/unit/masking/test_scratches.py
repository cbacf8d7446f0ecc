"""Scratches: painted ones are found on a real photograph, and clean photographs stay as they are."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import data

from wavepaint.runtime.masking import scratches
from wavepaint.runtime.masking.scratches import find_scratches

CURVES = (
    [(20, 15), (60, 40), (110, 60), (170, 70), (230, 72)],
    [(300, 5), (296, 90), (290, 200)],
    [(380, 250), (430, 190), (440, 130)],
)
"""Three scratches of 120 to 230 pixels, as points (x, y)."""


def draw_curves(size: tuple[int, int], width: float = 1.5, factor: int = 1) -> np.ndarray:
    """Return the coverage (H, W) of the scratches, 0 to 1."""
    fine = Image.new("L", (size[0] * 4, size[1] * 4))
    for points in CURVES:
        scaled = [(x * 4 * factor, y * 4 * factor) for x, y in points]
        ImageDraw.Draw(fine).line(scaled, fill=255, width=round(4 * width), joint="curve")
    return np.asarray(fine.resize(size, Image.Resampling.BOX)) / 255


def paint(grey: np.ndarray, coverage: np.ndarray, level: int, opacity: float = 0.7) -> np.ndarray:
    share = coverage * opacity
    return np.round(grey * (1 - share) + level * share).astype(np.uint8)


@pytest.fixture(scope="module")
def calm() -> np.ndarray:
    """A photograph without texture: the cat's, blurred, with a little noise."""
    blurred = ndimage.gaussian_filter(data.chelsea()[..., 1].astype(float), 6)
    return np.round(blurred + np.random.default_rng(0).normal(0, 1.5, blurred.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("level", "polarity"), [(250, "bright"), (5, "dark"), (250, "both"), (5, "both")])
def test_painted_scratches_are_found_and_little_else(calm: np.ndarray, level: int, polarity: str) -> None:
    coverage = draw_curves((calm.shape[1], calm.shape[0]))
    found = find_scratches(paint(calm, coverage, level), polarity)  # type: ignore[arg-type]
    assert found[coverage > 0.3].mean() > 0.95
    far = ndimage.distance_transform_edt(coverage == 0) > 10  # lines are found up to 8 pixels beyond their ends
    assert not found[far].any()


def test_lines_of_the_other_polarity_stay(calm: np.ndarray) -> None:
    coverage = draw_curves((calm.shape[1], calm.shape[0]))
    assert not find_scratches(paint(calm, coverage, 250), "dark").any()
    assert not find_scratches(paint(calm, coverage, 5), "bright").any()


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "camera", "gravel", "grass"])
def test_next_to_nothing_is_marked_on_clean_photographs(name: str) -> None:
    grey = np.asarray(Image.fromarray(getattr(data, name)()).convert("L"))
    assert find_scratches(grey).mean() < 0.005


def test_edges_specks_and_thick_lines_are_no_scratches() -> None:
    grey = np.full((200, 300), 90, np.uint8)
    grey[:, 150:] = 200  # an edge
    grey[20:26, 20:26] = 255  # a speck
    grey[80:100, 10:140] = 10  # a beam
    assert not find_scratches(grey).any()


def test_sensitivity_decides_on_faint_scratches() -> None:
    coverage = draw_curves((451, 300))
    wall = np.random.default_rng(0).normal(110, 1.5, coverage.shape)
    faint = paint(wall, coverage, 250, opacity=0.06)
    shares = [find_scratches(faint, sensitivity=level)[coverage > 0.5].mean() for level in (0, 50, 100)]
    assert shares == sorted(shares)
    assert shares[0] < 0.1 < 0.8 < shares[2]


def test_wide_scratches_need_scales(calm: np.ndarray) -> None:
    large = np.asarray(Image.fromarray(calm).resize((1353, 900), Image.Resampling.BICUBIC))
    coverage = draw_curves((1353, 900), width=11, factor=3)
    scratched = paint(large, coverage, 250)
    assert find_scratches(scratched, width=4)[coverage > 0.5].mean() < 0.3
    assert find_scratches(scratched, width=12)[coverage > 0.5].mean() > 0.9


def test_tiles_and_turns_make_no_difference(calm: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = paint(calm, draw_curves((calm.shape[1], calm.shape[0])), 250)
    whole = find_scratches(grey)
    monkeypatch.setattr(scratches, "_TILE", 64)
    np.testing.assert_array_equal(find_scratches(grey), whole)
    turned = np.rot90(find_scratches(np.ascontiguousarray(np.rot90(grey))), -1)
    coverage = draw_curves((calm.shape[1], calm.shape[0]))
    assert turned[coverage > 0.3].mean() > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (33, 31)])
def test_photos_of_any_size_pass(shape: tuple[int, int]) -> None:
    assert find_scratches(np.zeros(shape, np.uint8), width=200).shape == shape
