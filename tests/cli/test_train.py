"""``wp train``: settings and folders that are refused in one line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint.training.config import SECTIONS
from wavepaint.training.settings import name_flag

TINY = ("--steps", 1, "--batch-size", 2, "--crop-size", 32, "--val-size", 32, "--workers", 0,
        "--hyper-parameter", "blocks_per_module=1", "--hyper-parameter", "final_dim=8")  # fmt: skip
"""A run of one step of a small network."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


@pytest.mark.parametrize("name", [".", "run", "deep/run"])
def test_samples_are_never_written_among_the_photos(wp_here: Wp, photos: Path, name: str) -> None:
    result = wp_here("train", photos, "-o", photos / name, "--steps", 1, "--crop-size", 32, "--val-size", 32)
    assert_refused(result, "is among the photos", "choose a folder outside (-o)")
    assert sorted(path.name for path in photos.iterdir()) == ["0.png", "1.png"]


def test_config_that_is_a_folder_is_refused(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    assert_refused(wp_here("train", photos, "-o", tmp_path / "run", "--config", tmp_path), "is a folder")
    assert not (tmp_path / "run").exists()


def test_the_whole_help_names_every_setting(wp_here: Wp) -> None:
    words = wp_here("train", "--help-all").stdout.decode().split()
    flags = [name_flag(field) for section in SECTIONS.values() for field in dataclasses.fields(section)]
    assert set(flags) <= set(words)
