"""Masks from silhouettes of objects."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from wavepaint.data.masks import (
    MaskSampler,
)
from wavepaint.errors import ConfigError, TrainingError


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disc in the alpha channel and an upright bar in white on black, in nested folders."""
    folder = tmp_path_factory.mktemp("cutouts")
    disc = Image.new("RGBA", (60, 60), (10, 20, 30, 0))
    ImageDraw.Draw(disc).ellipse([10, 10, 49, 49], fill=(10, 20, 30, 255))
    disc.save(folder / "disc.png")
    bar = Image.new("L", (100, 100))
    ImageDraw.Draw(bar).rectangle([40, 5, 49, 94], fill=255)
    (folder / "deep").mkdir()
    bar.save(folder / "deep" / "bar.png")
    return folder


def test_silhouettes_are_rotated_and_scaled_objects(cutouts: Path) -> None:
    sampler = MaskSampler(("silhouettes",), cutouts)
    elongations, long_sides, tilts = [], [], []
    for seed in range(200):
        mask = sampler(256, 256, np.random.default_rng(seed))
        assert 0 < mask.mean() <= 0.5
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        assert 1 <= len(contours) <= 2
        points = contours[0][:, 0]
        if len(contours) == 2 or points.min() == 0 or points.max() == 255:
            continue  # more than one object, or cut by the edge
        (_, (a, b), _) = cv2.minAreaRect(contours[0])
        elongations.append(max(a, b) / max(min(a, b), 1))
        if elongations[-1] > 5:
            long_sides.append(max(a, b))
            top, bottom = points[points[:, 1].argmin()], points[points[:, 1].argmax()]
            tilts.append(np.degrees(np.arctan2(bottom[0] - top[0], bottom[1] - top[1])))
    assert sum(value < 1.2 for value in elongations) > 5, "discs stay discs"
    assert len(tilts) > 5, "bars stay bars"
    assert 60 <= min(long_sides) < max(long_sides) <= 200  # a quarter to three quarters of 256
    assert -40 < min(tilts) < -5
    assert 5 < max(tilts) < 40


def test_pickled_silhouettes_draw_the_same_masks(cutouts: Path) -> None:
    sampler = MaskSampler(("silhouettes", "thin"), cutouts)
    for seed in range(5):
        drawn = [s(90, 120, np.random.default_rng(seed)) for s in (sampler, pickle.loads(pickle.dumps(sampler)))]
        assert drawn[0].shape == (90, 120)
        assert np.array_equal(*drawn)


def test_silhouettes_without_a_usable_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--silhouettes DIR"):
        MaskSampler(("thin", "silhouettes"))
    with pytest.raises(ConfigError, match="is not a folder"):
        MaskSampler(("silhouettes",), tmp_path / "none")
    with pytest.raises(ConfigError, match="contains no cut-outs"):
        MaskSampler(("silhouettes",), tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    with pytest.raises(TrainingError, match=r"black\.png shows no object"):
        MaskSampler(("silhouettes",), tmp_path)
    (tmp_path / "black.png").write_bytes(b"\x89PNG")
    with pytest.raises(TrainingError, match=r"black\.png cannot be decoded"):
        MaskSampler(("silhouettes",), tmp_path)
