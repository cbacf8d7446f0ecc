"""An upscaler doubles photos of any size, without seams between its tiles."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.class_bundle import write_class_bundle
from tests.fakes.upscaling_bundle import write_upscaling_bundle
from wavepaint.contract import CLASSIFICATION
from wavepaint.errors import BundleError, EngineError
from wavepaint.runtime import upscaler
from wavepaint.runtime.upscaler import Upscaler


@pytest.mark.parametrize("shape", [(1, 1), (33, 50), (64, 96), (97, 31)])
def test_every_pixel_becomes_four(shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscaler, "TILE", 32)
    monkeypatch.setattr(upscaler, "MARGIN", 16)
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    write_upscaling_bundle(tmp_path / "bundle")
    with Upscaler(tmp_path / "bundle", engine="ort-cpu") as model:
        larger = model.upscale(photo)
    assert larger.dtype == np.uint8
    assert np.array_equal(larger, photo.repeat(2, axis=0).repeat(2, axis=1))


def test_transparent_parts_count_as_white_and_values_beyond_one_are_cut(tmp_path: Path) -> None:
    photo = np.zeros((4, 4, 4), np.uint8)
    photo[:2] = (100, 200, 255, 255)
    write_upscaling_bundle(tmp_path / "bundle", scale=2.0)
    with Upscaler(tmp_path / "bundle", engine="ort-cpu") as model:
        larger = model.upscale(photo)
    assert larger[0, 0].tolist() == [200, 255, 255]
    assert larger[-1, 0].tolist() == [255, 255, 255]


def test_a_model_that_does_not_double_is_refused(tmp_path: Path) -> None:
    write_upscaling_bundle(tmp_path / "bundle", factor=3.0)
    with (
        Upscaler(tmp_path / "bundle", engine="ort-cpu") as model,
        pytest.raises(BundleError, match="does not return images of twice the size"),
    ):
        model.upscale(np.zeros((8, 8, 3), np.uint8))


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write_upscaling_bundle(tmp_path / "bundle", scale=float("nan"))
    with Upscaler(tmp_path / "bundle", engine="ort-cpu") as model, pytest.raises(EngineError, match="not finite"):
        model.upscale(np.zeros((8, 8, 3), np.uint8))


def test_a_bundle_of_another_task_is_refused(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "classes", CLASSIFICATION)
    with pytest.raises(BundleError, match="Run it with wp classify"):
        Upscaler(tmp_path / "classes")
