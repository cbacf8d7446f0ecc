"""Mask generators keep the properties that LaMa's settings and the papers state."""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from wavepaint.data.lama_masks import StrokeSettings, _draw_strokes
from wavepaint.data.masks import (
    ALL_KINDS,
    MASK_KINDS,
    TRAINING_KINDS,
    MaskKind,
    MaskSampler,
    describe_kind,
    parse_kind,
)
from wavepaint.errors import ConfigError
from wavepaint.training.recipes import get_recipe


def random_mask(height: int, width: int, kinds: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    return MaskSampler(kinds)(height, width, rng)


HALF_AT_MOST = tuple(kind for kind in ALL_KINDS if kind not in ("silhouettes", *TRAINING_KINDS))


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(HALF_AT_MOST), height=st.integers(1, 300), width=st.integers(2, 300), seed=st.integers(0, 999)
)
def test_masks_are_binary_and_cover_at_most_half(kind: MaskKind, height: int, width: int, seed: int) -> None:
    mask = random_mask(height, width, (kind,), np.random.default_rng(seed))
    assert mask.shape == (height, width)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    assert 0 < mask.mean() <= 0.5


def test_lamas_training_masks_may_hide_more_than_half_but_never_everything() -> None:
    for side, largest in ((256, 0.8), (96, 0.95)):
        shares = [random_mask(side, side, ("lama-training",), np.random.default_rng(seed)).mean() for seed in range(60)]
        assert min(shares) > 0
        assert largest < max(shares) < 1


def test_mask_depends_on_the_seed() -> None:
    def draw(seed: int) -> np.ndarray:
        return random_mask(128, 128, MASK_KINDS, np.random.default_rng(seed))

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("thin",), "35e259a556a9625d"),
        (("medium",), "42511243b0521644"),
        (("thick",), "d6c8ed3fa579d94d"),
        (("thin", "medium", "thick"), "6cd5359d43f2d1c8"),
        (("lama-training",), "953f8c0bab020a3c"),
    ],
)
def test_masks_equal_those_of_earlier_versions(kinds: tuple[MaskKind, ...], expected: str) -> None:
    masks = [random_mask(200, 256, kinds, np.random.default_rng(seed)) for seed in range(20)]
    assert hashlib.sha256(b"".join(mask.tobytes() for mask in masks)).hexdigest()[:16] == expected


def draw_many(kind: str, height: int, width: int, number: int = 100) -> list[np.ndarray]:
    sampler = MaskSampler((kind,))
    return [sampler(height, width, np.random.default_rng(seed)) for seed in range(number)]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("squares", 0.05, 0.20),
        ("polygons", 0.03, 0.15),
        ("boxes", 0.001, 0.0022),
        ("large-boxes", 0.2, 0.3),
        ("chains", 0.05, 0.15),
    ],
)
def test_mean_share_of_the_hole_at_256_pixels(kind: MaskKind, low: float, high: float) -> None:
    assert low < np.mean([mask.mean() for mask in draw_many(kind, 256, 256)]) < high


@pytest.mark.parametrize("side", [8, 12])
def test_boxes_of_one_size_have_exactly_that_size(side: int) -> None:
    for mask in draw_many("boxes-8" if side == 8 else "boxes-12", 96, 96, 30):
        rows, columns = np.nonzero(mask)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1, mask.sum()) == (side, side, side**2)


def test_boxes_have_8x8_or_12x12_pixels_anywhere_in_the_image() -> None:
    sides, places = [], []
    for mask in draw_many("boxes", 96, 96, 200):
        rows, columns = np.nonzero(mask)
        side = int(np.ptp(rows)) + 1
        assert np.ptp(columns) + 1 == side
        assert mask.sum() == side**2
        sides.append(side)
        places += [rows.min() / (96 - side), columns.min() / (96 - side)]
    assert set(sides) == {8, 12}
    assert 70 < sides.count(8) < 130
    assert min(places) == pytest.approx(0, abs=0.02)
    assert max(places) == pytest.approx(1, abs=0.02)


def test_one_to_three_squares_have_an_eighth_to_three_eighths_of_the_side() -> None:
    singles = []
    for mask in draw_many("squares", 256, 320):
        number, _, boxes, _ = cv2.connectedComponentsWithStats(mask)
        assert 1 <= number - 1 <= 3
        if number == 2 and boxes[1, cv2.CC_STAT_AREA] == boxes[1, 2] * boxes[1, 3] and boxes[1, 2] == boxes[1, 3]:
            singles.append(int(boxes[1, 2]))
    assert len(singles) > 20
    assert min(singles) >= 32
    assert max(singles) <= 96


def test_large_boxes_have_50_to_149_pixels_and_keep_a_margin() -> None:
    singles, numbers = [], []
    for mask in draw_many("large-boxes", 256, 256, 300):
        assert not mask[:10].any()
        assert not mask[:, -10:].any()
        number, _, boxes, _ = cv2.connectedComponentsWithStats(mask)
        numbers.append(number - 1)
        singles += [tuple(b[2:4]) for b in boxes[1:] if b[cv2.CC_STAT_AREA] == b[2] * b[3]]
    sides = [side for pair in singles for side in pair]
    assert 50 <= min(sides) < 55
    assert 144 < max(sides) <= 149
    assert any(width != height for width, height in singles)
    assert max(numbers) > 1


def test_chains_are_one_to_three_joined_strokes_of_at_most_71_pixels() -> None:
    masks = draw_many("chains", 256, 256, 200)
    assert {cv2.connectedComponents(mask)[0] for mask in masks} == {2}, "the segments of a chain are joined"
    widths = [widest_stroke(mask) for mask in masks]
    assert min(widths) < 15
    assert 60 < np.quantile(widths, 0.9) < 95  # where strokes overlap, the hole is wider than one


def test_polygons_are_filled_shapes_with_straight_edges_and_few_corners() -> None:
    corners = []
    for mask in draw_many("polygons", 256, 256):
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        assert 1 <= len(contours) <= 4  # three polygons and one gap between them
        corners += [len(cv2.approxPolyDP(c, 2, True)) for c in contours if cv2.contourArea(c) > 500]
    assert len(corners) > 100
    assert min(corners) >= 3
    assert 4 < np.mean(corners) < 10


def test_weights_set_the_frequency_of_kinds() -> None:
    sampler = MaskSampler(("boxes:3", "squares"))
    few = sum(sampler(96, 96, np.random.default_rng(seed)).sum() <= 144 for seed in range(400))
    assert 260 < few < 340
    assert parse_kind("thin:2.5") == ("thin", 2.5, None)
    assert parse_kind("thick@256:2") == ("thick", 2, 256)
    equal, plain = MaskSampler(("thin:2", "thick:2")), MaskSampler(("thin", "thick"))
    for seed in range(5):
        assert np.array_equal(*(s(64, 64, np.random.default_rng(seed)) for s in (equal, plain)))


@pytest.mark.parametrize("kind", ["thin:0", "thin:-1", "thin:x", "thin:", "thin:nan", "thin:inf"])
def test_bad_weights_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="weight above 0"):
        MaskSampler((kind,))


@pytest.mark.parametrize(
    "kind", ["thin@", "thin@0", "thin@1", "thin@x", "thin@4097", "thin@-256", "thin@1e9", "thin@²"]
)
def test_bad_drawing_sides_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="2 to 4096 pixels"):
        MaskSampler((kind,))


@pytest.mark.parametrize("kind", ["thick", "lama-training"])
def test_hole_drawn_at_256_pixels_keeps_its_share_of_a_small_image(kind: MaskKind) -> None:
    small, full = draw_many(f"{kind}@256", 96, 128), draw_many(kind, 256, 341)
    assert small[0].shape == (96, 128)
    assert np.mean([mask.mean() for mask in small]) == pytest.approx(np.mean([mask.mean() for mask in full]), rel=0.02)


def test_stl10_recipe_rejects_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = MaskSampler(get_recipe("wavemix-stl10").data.masks)
    draw, calls = sampler._draw["lama-training"], []
    monkeypatch.setitem(sampler._draw, "lama-training", lambda *args: (calls.append(1), draw(*args)))
    holes = [sampler(96, 96, np.random.default_rng(seed)).mean() for seed in range(200)]
    assert len(calls) == 200
    assert np.mean(holes) == pytest.approx(0.353, abs=0.03)  # LaMa's mean hole at 256 pixels


def test_every_kind_names_its_generator() -> None:
    names = {kind: describe_kind(kind) for kind in ALL_KINDS}
    assert len(set(names.values())) == len(ALL_KINDS)
    assert "configs/data_gen/random_thick_256" in names["thick"]
    assert "abl-04-256-mh-dist" in names["lama-training"]
    assert describe_kind("thick@256:2") == f"{names['thick']}, drawn at 256 pixels and scaled"


def widest_stroke(mask: np.ndarray) -> float:
    """Return the diameter of the largest disc inside the hole."""
    return 2 * float(cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())


def test_strokes_widen_from_thin_to_thick() -> None:
    widths = {
        kind: np.mean([widest_stroke(random_mask(256, 256, (kind,), np.random.default_rng(s))) for s in range(8)])
        for kind in MASK_KINDS
    }
    assert widths["thin"] < widths["medium"] < widths["thick"]
    assert widths["thin"] < 30


def test_lamas_recipes_use_its_training_generator() -> None:
    for recipe in ("lama-places", "lama-spectral"):
        assert get_recipe(recipe).data.masks == ("lama-training",)


@pytest.mark.parametrize("width", [5, 6, 13, 14, 50])
def test_stroke_is_as_wide_as_opencvs(width: int) -> None:
    settings = StrokeSettings(
        min_strokes=1, max_strokes=1, min_width=width, max_width=1, min_length=80, max_length=1, max_angle=1,
        max_segments=1,
    )  # fmt: skip
    expected = np.zeros((256, 256), np.uint8)
    cv2.line(expected, (128, 60), (128, 140), 1, width)
    for seed in range(100):
        canvas = Image.new("L", (256, 256))
        _draw_strokes(ImageDraw.Draw(canvas), canvas.size, settings, np.random.default_rng(seed))
        mask = np.array(canvas)
        if not mask[[0, -1]].any() and not mask[:, [0, -1]].any():
            break  # the stroke lies inside the image
    assert mask.sum(axis=1).max() == expected.sum(axis=1).max() > width


@pytest.mark.parametrize("kinds", [(), ("huge",)])
def test_unknown_kinds_are_refused(kinds: tuple[MaskKind, ...]) -> None:
    with pytest.raises(ConfigError, match="--masks"):
        random_mask(64, 64, kinds, np.random.default_rng(0))


def test_single_pixel_is_refused() -> None:
    with pytest.raises(ConfigError, match="too small"):
        random_mask(1, 1, ("thin",), np.random.default_rng(0))
