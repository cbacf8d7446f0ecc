"""The Python API on a real engine: sizes, kinds of images, known pixels, warnings and errors."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wavepaint import Inpainter
from wavepaint.contract import MANIFEST_NAME, Bundle
from wavepaint.errors import BundleError, ConfigError, EngineError, ImageError, WavePaintWarning
from wavepaint.runtime.filling.options import FillOptions


@pytest.fixture(scope="module")
def inpainter(tiny_bundle: Bundle) -> Iterator[Inpainter]:
    with Inpainter(tiny_bundle.folder, threads=1) as opened:
        yield opened


def test_only_pixels_of_the_hole_are_changed(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    filled = np.asarray(inpainter.fill(photo, hole))
    assert filled.shape == photo.shape
    assert np.array_equal(filled[~hole], photo[~hole])
    assert (filled[hole] != photo[hole]).any()


@pytest.mark.parametrize(("crop_size", "thickest"), [(192, 128), (None, 171)])
def test_the_crop_size_of_training_decides_which_holes_are_filled_at_full_resolution(
    crop_size: int | None, thickest: int, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "bundle")
    manifest = json.loads((folder / MANIFEST_NAME).read_text()) | {"crop_size": crop_size}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    with Inpainter(folder, engine="ort-cpu", threads=1) as opened:
        passed: list[int] = []
        infer = opened._session._infer
        monkeypatch.setattr(
            opened._session, "_infer", lambda image, mask: passed.append(int(mask.sum())) or infer(image, mask)
        )
        for side in (thickest, thickest + 1 + thickest % 2):
            hole = np.zeros((600, 600), bool)
            hole[200 : 200 + side, 200 : 200 + side] = True
            opened.fill(np.zeros((600, 600, 3), np.uint8), hole)
            assert passed.pop() == (side if side == thickest else side // 2) ** 2


def test_pixels_in_the_hole_do_not_affect_the_result(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    other = photo.copy()
    other[hole] = 255 - other[hole]
    assert np.array_equal(np.asarray(inpainter.fill(photo, hole)), np.asarray(inpainter.fill(other, hole)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 99),
    share=st.floats(0.01, 0.99),
    channels=st.sampled_from([1, 2, 3, 4, 16]),
)
def test_known_pixels_of_any_size_and_kind_are_bit_identical(
    inpainter: Inpainter, height: int, width: int, seed: int, share: float, channels: int
) -> None:
    rng = np.random.default_rng(seed)
    if channels == 16:
        image = rng.integers(0, 65536, (height, width), dtype=np.uint16)
    else:
        shape = (height, width) if channels == 1 else (height, width, channels)
        image = rng.integers(0, 256, shape, dtype=np.uint8)
    mask = rng.random((height, width)) < share
    if mask.all() or not mask.any():
        return
    filled = np.asarray(inpainter.fill(image, mask))
    assert filled.shape == image.shape
    assert filled.dtype == image.dtype
    assert np.array_equal(filled[~mask], image[~mask])
    if channels in (2, 4):
        assert np.array_equal(filled[..., -1], image[..., -1])


def test_a_single_pixel_is_returned_or_refused(inpainter: Inpainter) -> None:
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    with pytest.warns(WavePaintWarning):
        assert np.array_equal(np.asarray(inpainter.fill(pixel, np.array([[False]]))), pixel)
    with pytest.raises(ImageError, match="covers all"):
        inpainter.fill(pixel, np.array([[True]]))


def test_a_hole_that_only_its_growth_makes_cover_the_photo_needs_a_smaller_growth(inpainter: Inpainter) -> None:
    hole = np.zeros((30, 40), bool)
    hole[3:27, 3:37] = True
    with pytest.raises(ImageError, match=r"the mask, grown by 5 pixels, covers all of .* Pass a smaller --dilate\.$"):
        inpainter.fill(np.zeros((30, 40, 3), np.uint8), hole, FillOptions(dilate=5))
    with pytest.raises(ImageError, match=r"the mask covers all of .* --invert-mask swaps\.$"):
        inpainter.fill(np.zeros((30, 40, 3), np.uint8), np.ones_like(hole), FillOptions(dilate=5))


def test_an_empty_mask_returns_the_image_and_warns(inpainter: Inpainter, photo: np.ndarray) -> None:
    with pytest.warns(WavePaintWarning, match="is empty"):
        assert np.array_equal(np.asarray(inpainter.fill(photo, np.zeros(photo.shape[:2], bool))), photo)


def test_an_error_names_sizes_that_differ(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    with pytest.raises(ImageError, match="451x300.*mask 200x100.*--resize-mask"):
        inpainter.fill(photo, np.zeros((100, 200), bool))
    with pytest.raises(ImageError, match="One of them is turned: draw the mask on the upright photo"):
        inpainter.fill(photo, hole.T)
    resized = np.asarray(inpainter.fill(photo, hole[::2, ::2], FillOptions(resize_mask=True)))
    assert np.array_equal(resized[200:], photo[200:])
    assert (resized[105:135, 205:255] != photo[105:135, 205:255]).any()


def test_a_rotated_photo_is_filled_upright(
    inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(photo)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(inpainter.fill(tmp_path / "a.png", hole)), np.asarray(inpainter.fill(photo, hole)))


def test_the_transparent_part_of_a_picture_can_be_the_hole(
    inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray
) -> None:
    erased = np.dstack([photo, np.where(hole, 0, 255).astype(np.uint8)])
    filled = np.asarray(inpainter.fill(erased, erased, FillOptions(mask_from="alpha")))
    assert (filled[..., 3] == 255).all()
    assert np.array_equal(filled[..., :3], np.asarray(inpainter.fill(photo, hole)))


def test_a_smooth_photo_stays_smooth_at_a_lower_resolution(tiny_bundle: Bundle) -> None:
    """Scaling a region down must not mix colours of the hole into known pixels."""
    image = np.full((600, 600, 3), 90, np.uint8)
    mask = np.zeros((600, 600), bool)
    mask[100:500, 100:500] = True
    image[mask] = 255
    with Inpainter(tiny_bundle.folder, engine="ort-cpu") as inpainter:
        low, high = (
            np.asarray(inpainter.fill(image, mask, FillOptions(strategy=strategy))).astype(int)
            for strategy in ("crop", "whole")
        )
    assert abs(low[mask].mean() - high[mask].mean()) < 10


def test_the_engine_is_named_and_closed(tiny_bundle: Bundle, photo: np.ndarray, hole: np.ndarray) -> None:
    inpainter = Inpainter(tiny_bundle.folder, engine="ort-cpu")
    assert inpainter.engine.startswith("ONNX Runtime")
    assert inpainter.engine.endswith("CPU float32")
    inpainter.close()
    inpainter.close()
    with pytest.raises(EngineError, match="closed"):
        inpainter.fill(photo, hole)


def test_arguments_out_of_range_are_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_memory_mb is 0 MiB.*--max-memory"):
        Inpainter(tiny_bundle.folder, max_memory_mb=0)
    with pytest.raises(ConfigError, match="dilate is 65 pixels: expected 0 to 64"):
        FillOptions(dilate=65)
    with pytest.raises(ConfigError, match="strategy is 'best': expected auto, whole, crop, tile"):
        FillOptions(strategy="best")  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="does not exist"):
        Inpainter(tmp_path / "none")


def test_many_threads_share_one_inpainter(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    expected = np.asarray(inpainter.fill(photo, hole))
    with ThreadPoolExecutor(4) as pool:
        for filled in pool.map(lambda _: np.asarray(inpainter.fill(photo, hole)), range(8)):
            assert np.array_equal(filled, expected)
