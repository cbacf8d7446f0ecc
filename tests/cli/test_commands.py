"""From training to a filled photo: train, blend and export, and their errors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import write_bundle
from wavepaint.contract import find_crop_size

TINY_TRAINING = ("--steps-per-epoch", 2, "--batch-size", 2, "--crop-size", 32, "--val-size", 32, "--workers", 0)
TINY_NETWORK = tuple(
    word
    for setting in (
        "num_modules=1",
        "blocks_per_module=1",
        "final_dim=8",
        "ff_channel=8",
        "prefill_levels=0",
        "borrow=false",
    )
    for word in ("--hyper-parameter", setting)
)


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    for name in ("chelsea", "coffee", "rocket", "astronaut"):
        image = Image.fromarray(getattr(data, name)())
        image.thumbnail((128, 128))
        image.save(folder / f"{name}.png")
    return folder


def test_from_photos_to_a_filled_photo(wp: Wp, photo_folder: Path, tmp_path: Path) -> None:
    trained = wp("train", photo_folder, "-o", tmp_path / "run", "--steps", 4, *TINY_TRAINING, *TINY_NETWORK)
    assert trained.returncode == 0, trained.stderr.decode()
    assert "epoch 2: loss" in trained.stderr.decode()
    assert f"wp export {tmp_path}/run/best.pt" in trained.stderr.decode()
    exported = wp("export", tmp_path / "run" / "best.pt", "-o", tmp_path / "bundle")
    assert exported.returncode == 0, exported.stderr.decode()
    assert "10 cases against PyTorch" in exported.stderr.decode()
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["training"]["config"]["recipe"] == "default"
    assert manifest["crop_size"] == 32
    mask = Image.new("L", (128, 85), 0)
    mask.paste(255, (30, 30, 60, 50))
    mask.save(tmp_path / "mask.png")
    filled = wp("infer", photo_folder / "chelsea.png", tmp_path / "mask.png", "-o", tmp_path / "out.png",
                "--model", tmp_path / "bundle")  # fmt: skip
    assert filled.returncode == 0, filled.stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_saved_and_resumed(
    photo_folder: Path, tmp_path: Path, wp_here: Wp, number: signal.Signals
) -> None:
    arguments = ["train", photo_folder, "-o", tmp_path / "run", "--steps", 100_000, *TINY_TRAINING, "--workers", 1]
    process = subprocess.Popen(
        [sys.executable, "-m", "wavepaint", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "last.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, number)  # to the loader's process as well, as a terminal and job schedulers do
    _, message = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"to continue: wp train {photo_folder} -o {tmp_path}/run --resume\n" in message
    assert f"the best weights so far: wp export {tmp_path}/run/best.pt -o bundles/run\n" in message
    assert "Traceback" not in message
    stopped_at = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["resume"]["step"]
    assert stopped_at >= 2
    assert_refused(wp_here(*arguments), "a run already")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("DATA", "--steps", 0), ("--steps is 0",)),
        (("DATA", "--epochs", 3, "--steps", 3), ("--steps is 3 and --epochs 3",)),
        (("DATA", "--masks", "round"), ("'round' masks", "--masks")),
        (("DATA", "--masks", "silhouettes"), ("--silhouettes FOLDER",)),
        (("DATA", "--ssim-weight", -1), ("--ssim-weight is -1",)),
        (("DATA", "--adversarial-weight", 1), ("--adversarial-kind",)),
        (("DATA", "--recipe", "lama-places"), ("weights of LPIPS (vgg16)", "--download-weights")),
        (("DATA", "--config", "NONE"), ("cannot be read as TOML",)),
        (("DATA", "--config", "TYPO"), ("unknown training setting data.crop_sise", "Did you mean crop_size?")),
        (("DATA", "--hyper-parameter", "levels=2"), ("levels",)),
        (("DATA", "--init-from", "NONE"), ("does not exist",)),
        (("DATA", "--precision", "fp16", "--device", "cpu"), ("--precision fp16 trains", "GPUs")),
        (("DATA", "--batch-size", 5, "--accumulate", 2), ("--accumulate is 2",)),
        (("DATA", "--resume"), ("nothing to resume",)),
        (("DATA", "--crop-size", 100), ("--crop-size is 100", "multiple of 16")),
        (("DATA", "--device", "abacus"), ("--device abacus is not usable here",)),
        (("DATA", "--device", "cuda:77"), ("--device cuda:77 is not usable here",)),
        (("EMPTY",), ("no photos",)),
        (("NONE",), ("does not exist",)),
        (("DATA", "--val-data", "NONE"), ("does not exist",)),
    ],
)
def test_training_that_cannot_start_is_refused_before_the_work(
    wp_here: Wp,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    words: tuple[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "typo.toml").write_text("[data]\ncrop_sise = 64\n")
    places = {"DATA": photo_folder, "EMPTY": tmp_path / "empty", "NONE": tmp_path / "none",
              "TYPO": tmp_path / "typo.toml"}  # fmt: skip
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WAVEPAINT_LPIPS", raising=False)
    result = wp_here("train", *(places.get(str(a), a) for a in arguments), "-o", tmp_path / "run")
    assert_refused(result, *words)
    assert not (tmp_path / "run").exists()


def test_bad_checkpoints_and_targets_of_an_export_are_refused(
    wp_here: Wp, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    (tmp_path / "noise.pth").write_bytes(b"noise")
    torch.save({"epoch": 1}, tmp_path / "other.pth")
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["model"]["wavemodules.0.conv.0.bias"][0] = float("nan")
    torch.save(content, tmp_path / "nan.pth")
    before = sorted(p.name for p in tmp_path.iterdir())
    for name, words in (
        ("none.pth", "does not exist"),
        ("noise.pth", "not a PyTorch checkpoint"),
        ("other.pth", "no weights"),
        ("nan.pth", "NaN"),
    ):
        assert_refused(wp_here("export", tmp_path / name, "-o", tmp_path / "bundle"), words)
    (tmp_path / "bundle").mkdir()
    assert_refused(wp_here("export", tiny_checkpoint, "-o", tmp_path / "bundle"), "exists already", "--overwrite")
    assert_refused(wp_here("export", tiny_checkpoint, "-o", tiny_checkpoint / "b"), "is a file, not a folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "bundle"])


def test_printed_settings_are_a_file_that_trains(photo_folder: Path, tmp_path: Path, wp_here: Wp) -> None:
    shown = wp_here("train", "--show-config", *TINY_TRAINING, *TINY_NETWORK, "--steps", 2)
    assert shown.returncode == 0, shown.stderr.decode()
    (tmp_path / "mine.toml").write_bytes(shown.stdout)
    again = wp_here("train", "--config", tmp_path / "mine.toml", "--show-config")
    assert again.stdout == shown.stdout
    trained = wp_here("train", photo_folder, "-o", tmp_path / "run", "--config", tmp_path / "mine.toml", "--seed", 7)
    assert trained.returncode == 0, trained.stderr.decode()
    config = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["training"]["config"]
    assert (config["seed"], config["data"]["crop_size"], config["hyper_parameters"]["final_dim"]) == (7, 32, 8)


def test_info_shows_how_two_stages_were_trained_and_blended(photo_folder: Path, tmp_path: Path, wp_here: Wp) -> None:
    first, second, between = (tmp_path / name for name in ("first", "second", "between.pt"))
    start = ("--steps", 2, *TINY_TRAINING, *TINY_NETWORK)
    assert wp_here("train", photo_folder, "-o", first, *start).returncode == 0
    trained = wp_here("train", photo_folder, "-o", second, *start, "--init-from", first / "best.pt", "--seed", 1)
    assert trained.returncode == 0, trained.stderr.decode()
    blended = wp_here("blend", first / "best.pt", second / "best.pt", "-o", between, "--share", 0.7)
    assert blended.returncode == 0, blended.stderr.decode()
    assert_refused(wp_here("blend", first / "best.pt", second / "best.pt", "-o", between), "exists already")
    assert_refused(wp_here("blend", first / "best.pt", "none.pt", "-o", tmp_path / "x.pt"), "none.pt does not exist")
    record = torch.load(between, weights_only=True)["training"]
    bundle = write_bundle(tmp_path / "bundle", training=record, crop_size=find_crop_size(record))
    shown = wp_here("info", bundle.folder).stdout.decode()
    for words in (
        "recipe default, 2 steps of 2 crops of 32 px",
        "started from best.pt",
        "70% of it and 30% of best.pt",
    ):
        assert words in shown


def test_usage_errors_of_train_name_the_missing_or_wrong_option(wp_here: Wp, photo_folder: Path) -> None:
    for arguments, words in (
        ((photo_folder,), "--out"),
        (("-o", "run"), "DATA"),
        ((photo_folder, "-o", "run", "--resume", "--init-from", "x.pt"), "leave --init-from out"),
        ((photo_folder, "-o", "run", "--hyper-parameter", "level"), "expected NAME=VALUE"),
        (("--recipe", "unknown"), "lama-places"),
    ):
        assert_refused(wp_here("train", *arguments), words, status=2)
