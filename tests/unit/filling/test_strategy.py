"""Every strategy fills all pixels of the hole and no others, and its cuts do not show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TINY, save_network
from tests.exports import export_once
from tests.unit.filling.masks import draw_masks
from wavepaint.errors import ConfigError
from wavepaint.export.bundle import ExportOptions
from wavepaint.runtime.filling.canvas import Canvas, Patch
from wavepaint.runtime.filling.memory import MIN_PIXELS, Limits
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.regions import find_regions, measure_thickness
from wavepaint.runtime.filling.strategy import MAX_CROP_PIXELS, TILE_SIDE, Strategy, fill_canvas
from wavepaint.runtime.inpainter import Inpainter

CUTTING: tuple[Strategy, ...] = ("auto", "crop", "tile")
Fill = Callable[[Patch], np.ndarray]

REACH = 20
"""Reach of `diffuse` in pixels."""


def diffuse(patch: Patch) -> np.ndarray:
    """Fill by averaging neighbours repeatedly: an operator of known reach that keeps known pixels."""
    image = np.where(patch.hole[..., None], 0.5, patch.image).astype(np.float32)
    for _ in range(REACH):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        image = np.where(patch.hole[..., None], mean, patch.image)
    return image


def fill(
    pixels: np.ndarray,
    hole: np.ndarray,
    strategy: Strategy,
    model: Fill = diffuse,
    *,
    thickness: int = 10**6,
    max_pixels: int = 10**8,
    max_batch: int = 1,
    feather: int = 0,
    marked: np.ndarray | None = None,
) -> tuple[np.ndarray, list[list[Patch]]]:
    """Fill (H, W, C) as the scheduler would; return the result and the patches that were yielded.

    Progress must ascend to 1.
    """
    canvas = Canvas(pixels, pixels.copy(), hole, ~(hole if marked is None else marked), feather)
    limits = Limits(max_pixels=max_pixels, max_batch=max_batch, thickness=thickness, multiple=16)
    shares: list[float] = []
    steps, yielded = fill_canvas(canvas, strategy, limits, shares.append), []
    reply = None
    while True:
        try:
            patches = next(steps) if reply is None else steps.send(reply)
        except StopIteration:
            assert shares == sorted(shares)
            assert shares[-1:] == ([pytest.approx(1)] if yielded else [])
            return canvas.result, yielded
        yielded.append(patches)
        reply = [model(patch) for patch in patches]


@settings(max_examples=40, deadline=None)
@given(
    hole=draw_masks(),
    strategy=st.sampled_from(["auto", "whole", "crop", "tile"]),
    thickness=st.sampled_from([8, 64, 10**6]),
    max_batch=st.integers(1, 5),
    feather=st.sampled_from([0, 3]),
    kind=st.sampled_from([(1, np.uint8), (3, np.uint8), (3, np.uint16)]),
)
def test_all_pixels_of_the_hole_and_no_others_are_filled(
    hole: np.ndarray,
    strategy: Strategy,
    thickness: int,
    max_batch: int,
    feather: int,
    kind: tuple[int, type[np.uint8] | type[np.uint16]],
) -> None:
    channels, dtype = kind
    pixels = np.random.default_rng(0).integers(0, 200, (*hole.shape, channels), dtype=dtype)
    peak = np.iinfo(dtype).max
    pixels[~hole] = peak  # so that a smooth continuation is white too

    def white(patch: Patch) -> np.ndarray:
        return np.where(patch.hole[..., None], np.float32(1), patch.image)

    max_pixels = hole.size if strategy == "whole" else 600_000
    filled, yielded = fill(
        pixels, hole, strategy, white, thickness=thickness, max_batch=max_batch, max_pixels=max_pixels, feather=feather
    )
    assert (filled == peak).all()
    for patches in yielded:
        assert 1 <= len(patches) <= max_batch
        for patch in patches:
            assert patch.image.shape == (*patch.hole.shape, 3)
            assert patch.image.dtype == np.float32
            assert patch.hole.any()
        assert sum(patch.hole.size for patch in patches) <= max_pixels


@settings(max_examples=15, deadline=None)
@given(hole=draw_masks(), strategy=st.sampled_from(CUTTING), max_pixels=st.sampled_from([MIN_PIXELS, 300_000, 10**7]))
def test_crops_and_tiles_equal_the_whole_where_the_reach_allows(
    hole: np.ndarray, strategy: Strategy, max_pixels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*hole.shape, 3), dtype=np.uint8)
    whole, _ = fill(pixels, hole, "whole")
    # Larger crops are scaled down, so they are compared in tiles.
    too_large = any(region.num_pixels > min(max_pixels, MAX_CROP_PIXELS) for region in find_regions(hole, 16))
    cut, _ = fill(pixels, hole, "tile" if too_large else strategy, max_pixels=max_pixels)
    # Blending equal values in float32 may change the result by one level.
    assert np.abs(cut.astype(int) - whole.astype(int)).max() <= 1


@pytest.fixture(scope="module")
def near_sighted(export_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network without initial fill, which reaches as far as two blocks of one wavelet level."""
    folder = tmp_path_factory.mktemp("near")
    checkpoint = save_network(folder / "near.pt", {**TINY, "num_modules": 1, "blocks_per_module": 2, "level": 1})
    return export_once(checkpoint, folder / "near", export_cache, ExportOptions()).folder


def test_a_network_in_crops_and_tiles_equals_the_whole(near_sighted: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (701, 1203, 3), dtype=np.uint8)
    mask = np.zeros((701, 1203), bool)
    mask[300:420, 200:1100] = True  # across several tiles
    mask[20:60, 1150:1203] = True  # at the border
    mask[600:601, :] = True
    with Inpainter(near_sighted, engine="ort-cpu") as inpainter:
        whole, *others = (
            inpainter.fill_array(image, mask, FillOptions(strategy=strategy)).astype(int)
            for strategy in ("whole", *CUTTING)
        )
    for other in others:
        assert np.abs(other - whole).max() <= 1


def test_thick_holes_are_scaled_to_the_thickness_of_training() -> None:
    hole = np.zeros((1200, 1200), bool)
    hole[300:812, 300:812] = True
    pixels = np.full((1200, 1200, 3), 100, np.uint8)

    def keep(patch: Patch) -> np.ndarray:
        return patch.image

    _, ((patch,),) = fill(pixels, hole, "crop", keep, thickness=128)
    assert measure_thickness(patch.hole) == 128
    _, ((coarse,), *tiles) = fill(pixels, hole, "auto", keep, thickness=128)
    assert measure_thickness(coarse.hole) == 128
    assert all(measure_thickness(tile.hole) < 128 for (tile,) in tiles)
    assert all(max(tile.hole.shape) < TILE_SIDE + 16 for (tile,) in tiles)
    _, ((patch,),) = fill(pixels, hole, "auto", keep, thickness=256)
    assert measure_thickness(patch.hole) == 256  # half the resolution is enough for a crop


def test_detail_lost_in_scaling_down_comes_back() -> None:
    """A network that repeats a period of 24 pixels gets a fill as sharp as the photo, also at the hole's edge."""
    tile = np.random.default_rng(0).integers(0, 256, (72, 72, 3), dtype=np.uint8)
    texture = np.tile(tile, (9, 9, 1))
    hole = np.zeros((648, 648), bool)
    hole[250:400, 220:380] = True

    def repeat(patch: Patch) -> np.ndarray:
        height, width = patch.hole.shape
        known = (~patch.hole[: height // 24 * 24, : width // 24 * 24]).reshape(height // 24, 24, width // 24, 24, 1)
        image = patch.image[: height // 24 * 24, : width // 24 * 24].reshape(height // 24, 24, width // 24, 24, 3)
        mean = (image * known).sum((0, 2)) / known.sum((0, 2))
        return np.tile(mean, (height // 24 + 1, width // 24 + 1, 1))[:height, :width].astype(np.float32)

    for feather in (0, 8):
        filled, ((patch,),) = fill(texture, hole, "crop", repeat, thickness=50, feather=feather)
        assert patch.hole.sum() == 50 * 54  # at a third
        error = np.square(filled.astype(float) - texture)[hole].mean()
        assert error < np.square(texture - texture.mean(axis=(0, 1)))[hole].mean() / 10, feather


def test_thin_holes_of_any_length_keep_their_resolution() -> None:
    hole = np.zeros((3000, 3000), bool)
    index = np.arange(100, 2900)
    for shift in range(6):
        hole[index, index + shift] = True
    _, yielded = fill(np.zeros((3000, 3000, 3), np.uint8), hole, "auto", lambda patch: patch.image, thickness=64)
    assert sum(patch.hole.size for patches in yielded for patch in patches) < hole.size * 0.7
    assert all(max(patch.hole.shape) < TILE_SIDE + 16 for patches in yielded for patch in patches)


def test_only_the_edge_of_a_thick_hole_is_computed_in_tiles() -> None:
    """Around a disc, tiles need the band at its edge with context; nineteen whole tiles would have 5 megapixels."""
    y, x = np.mgrid[:1300, :1300] - 650
    hole = y**2 + x**2 < 450**2
    pixels = np.full((1300, 1300, 1), 100, np.uint8)
    _, ((coarse,), *tiles) = fill(pixels, hole, "tile", lambda patch: patch.image, thickness=128)
    assert max(coarse.hole.shape) < 400
    shapes = [patch.hole.shape for patches in tiles for patch in patches]
    assert sum(height * width for height, width in shapes) < 3.5e6
    assert min(map(min, shapes)) < TILE_SIDE


def test_a_gradient_continues_through_a_thick_hole_without_a_seam() -> None:
    """A plane stays a plane to within a few levels, in crops and in tiles."""
    y, x = np.mgrid[:700, :900]
    plane = (40 + y * 0.1 + x * 0.05).round().astype(np.uint8)[..., None].repeat(3, axis=2)
    hole = np.zeros((700, 900), bool)
    hole[150:550, 200:700] = True

    def known(patch: Patch) -> np.ndarray:
        """Fit a plane to the known pixels."""
        rows, columns = np.mgrid[: patch.hole.shape[0], : patch.hole.shape[1]]
        terms = np.stack([np.ones(patch.hole.size), rows.ravel(), columns.ravel()], axis=1)
        fit, *_ = np.linalg.lstsq(terms[~patch.hole.ravel()], patch.image[~patch.hole], rcond=None)
        return (terms @ fit).reshape(patch.image.shape).astype(np.float32)

    for strategy in ("crop", "tile"):
        for feather in (0, 8):
            filled, _ = fill(plane, hole, strategy, known, thickness=64, feather=feather)  # type: ignore[arg-type]
            assert np.abs(filled.astype(int) - plane)[hole].max() <= 3, (strategy, feather)


def test_feathering_blends_from_the_photo_to_the_fill() -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    marked = np.zeros((300, 300), bool)
    marked[100:200, 100:200] = True
    hole = np.zeros((300, 300), bool)
    hole[92:208, 92:208] = True
    filled, _ = fill(pixels, hole, "crop", lambda patch: np.ones_like(patch.image), feather=8, marked=marked)
    row = filled[150, :, 0].astype(int)
    assert (row[:92] == 0).all()
    assert (np.diff(row[91:101]) > 0).all()
    assert (row[100:200] == 255).all()
    assert (np.diff(row[199:209]) < 0).all()


def test_crops_of_one_size_share_a_group() -> None:
    hole = np.zeros((2000, 2000), bool)
    for top in range(100, 2000, 500):
        for left in range(100, 2000, 500):
            hole[top : top + 20, left : left + 30] = True
    _, yielded = fill(np.zeros((2000, 2000, 3), np.uint8), hole, "auto", max_batch=6)
    assert [len(patches) for patches in yielded] == [6, 6, 4]
    assert len({patch.hole.shape for patches in yielded for patch in patches}) == 1


def test_strategy_whole_refuses_a_photo_too_large_for_one_run() -> None:
    hole = np.zeros((1000, 2000), bool)
    hole[0, 0] = True
    with pytest.raises(ConfigError, match="2000x1000 pixels are too many.*1.0 megapixels.*--max-memory.*--strategy"):
        fill(np.zeros((1000, 2000, 3), np.uint8), hole, "whole", max_pixels=10**6)
    assert 2 * MIN_PIXELS < MAX_CROP_PIXELS
