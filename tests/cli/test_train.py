"""``wp train``: short runs, what they tell, and settings and folders that are refused in one line."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint.cli.train_reporter import describe_duration, describe_end, describe_stop
from wavepaint.training.config import SECTIONS
from wavepaint.training.settings import name_flag

SHORT = ("--steps", 1, "--batch-size", 1, "--workers", 0)
TINY = (*SHORT, "--crop-size", 32, "--val-size", 32,
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


def test_few_photos_train_or_are_refused_in_one_line(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    def train() -> "subprocess.CompletedProcess[bytes]":
        return wp_here("train", photos, "-o", tmp_path / "run", *TINY)

    trained = train()
    assert trained.returncode == 0, trained.stderr.decode()
    for words in (
        "validation has 1 photo(s), so its figures",
        "its files need up to 1 MB in ",
        "before training: validation ",
        f"done: export it with: wp export {tmp_path}/run/best.pt -o bundles/run\n",
    ):
        assert words in trained.stderr.decode()
    shutil.rmtree(tmp_path / "run")
    for path in photos.iterdir():
        path.write_bytes(b"\x89PNG but broken")
    assert_refused(train(), "no photo to validate on: none of the 1", "--val-data")
    (photos / "0.png").unlink()
    assert_refused(train(), "there are 1 photo(s)", "--val-data")


def test_resumed_run_has_the_settings_of_its_folder(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    assert wp_here("train", photos, "-o", tmp_path / "run", *TINY).returncode == 0
    resume = ("train", photos, "-o", tmp_path / "run", "--resume")
    assert b"crop_size = 32\n" in wp_here(*resume, "--show-config").stdout
    assert wp_here(*resume).returncode == 0
    assert_refused(wp_here(*resume, "--seed", 3), "was trained with other settings (seed)")
    assert_refused(wp_here(*resume, "--recipe", "default"), "was trained with other settings", "crop_size")


def test_run_starts_from_the_shipped_model(
    wp_here: Wp, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WAVEPAINT_LPIPS", raising=False)
    start = ("--init-from", "default", *SHORT, "--crop-size", 64, "--val-size", 64)
    trained = wp_here("train", photos, "-o", tmp_path / "run", *start)
    assert trained.returncode == 0, trained.stderr.decode()
    assert b"LPIPS, the loss that keeps textures sharp" in trained.stderr
    assert b"training wavepaint (fine-tune-without-lpips)" in trained.stderr
    record = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["training"]
    assert record["begun_from"]["file"] == "default.pt"
    refused = wp_here("train", photos, "-o", tmp_path / "x", *start, "--architecture", "unet")
    assert_refused(refused, "is a wavepaint network: expected unet")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (3_580, "1 h 0 min"), (7_800, "2 h 10 min"), (200_000, "2 days 8 h")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text


def test_stopped_run_says_how_to_go_on(tmp_path: Path) -> None:
    best, last = tmp_path / "run" / "best.pt", tmp_path / "run" / "last.pt"
    assert "nothing was trained" in describe_stop(0, "wp train", best=best, last=last)
    early = describe_stop(7, "wp train photos -o run --resume", best=best, last=last)
    assert early.startswith("stopped at step 7; the run is saved in ")
    assert f"no validation has measured: wp export {last} -o bundles/run" in early
    assert "to continue: wp train photos -o run --resume\n" in early
    best.parent.mkdir()
    best.touch()
    assert f"best weights so far: wp export {best} -o bundles/run" in describe_stop(30, "", best=best, last=last)


@pytest.mark.parametrize(
    ("monitor", "rank", "start", "text"),
    [
        (
            "lpips",
            -0.25,
            -0.3137,
            "LPIPS inside the hole (lower is better): 0.3137 before training, 0.25 at its best\n",
        ),
        ("psnr", 20.5, 19.25, "PSNR inside the hole: 19.25 dB before training, 20.5 dB at its best\n"),
        ("ssim", 0.4, 0.5, "0.5 before training, 0.4 at its best. Training has not improved the network: "),
    ],
)
def test_finished_run_says_what_it_has_gained(monitor: str, rank: float, start: float, text: str) -> None:
    assert text in describe_end(Path("runs/mine/best.pt"), monitor, rank, start)
    assert describe_end(Path("run/best.pt"), monitor, rank, None).startswith("done: export it with: wp export run/best")


def test_the_whole_help_names_every_setting(wp_here: Wp) -> None:
    words = wp_here("train", "--help-all").stdout.decode().split()
    flags = [name_flag(field) for section in SECTIONS.values() for field in dataclasses.fields(section)]
    assert set(flags) <= set(words)
