"""The other commands, from training to a filled photo, and their error paths."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint import __version__
from wavepaint.contract import Bundle

TINY_TRAINING = ("--steps-per-epoch", 2, "--batch-size", 2, "--crop-size", 32, "--val-size", 32, "--workers", 0)


def test_version_and_help(wp: Wp) -> None:
    assert wp("--version").stdout.decode().strip() == f"wp, version {__version__}"
    text = wp("--help").stdout.decode()
    for name in ("infer", "train", "export", "bench", "info"):
        assert f"\n  {name} " in text
        assert wp(name, "--help").returncode == 0
    assert_refused(wp("paint"), "No such command 'paint'", status=2)


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(argument: str) -> None:
    code = (
        "import sys; sys.argv = ['wp', sys.argv[1]]; from wavepaint.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('loaded:', {'torch', 'numpy', 'PIL', 'onnxruntime'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("loaded: set()")


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
    trained = wp("train", photo_folder, "-o", tmp_path / "run", "--steps", 4, *TINY_TRAINING)
    assert trained.returncode == 0, trained.stderr.decode()
    assert "epoch 2: loss" in trained.stderr.decode()
    assert f"wp export {tmp_path}/run/best.pt" in trained.stderr.decode()
    exported = wp("export", tmp_path / "run" / "best.pt", "-o", tmp_path / "bundle")
    assert exported.returncode == 0, exported.stderr.decode()
    assert "10 cases against PyTorch" in exported.stderr.decode()
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["training"]["config"]["recipe"] == "default"
    Image.new("L", (128, 85), 0).save(tmp_path / "mask.png")
    mask = Image.new("L", (128, 85), 0)
    mask.paste(255, (30, 30, 60, 50))
    mask.save(tmp_path / "mask.png")
    filled = wp("infer", photo_folder / "chelsea.png", tmp_path / "mask.png", "-o", tmp_path / "out.png",
                "--model", tmp_path / "bundle")  # fmt: skip
    assert filled.returncode == 0, filled.stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_saved_and_resumed(
    photo_folder: Path, tmp_path: Path, wp: Wp, number: signal.Signals
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
    assert "saved. Go on with the same command and --resume" in message
    assert "Traceback" not in message
    stopped_at = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["resume"]["step"]
    assert stopped_at >= 2
    assert_refused(wp(*arguments), "holds a run already")


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
        (("DATA", "--precision", "fp16", "--device", "cpu"), ("--precision fp16 trains on GPUs alone",)),
        (("DATA", "--batch-size", 5, "--accumulate", 2), ("--accumulate is 2",)),
        (("DATA", "--resume"), ("nothing to resume",)),
        (("DATA", "--crop-size", 100), ("--crop-size is 100", "multiple of 16")),
        (("DATA", "--device", "abacus"), ("--device abacus is not usable here",)),
        (("DATA", "--device", "cuda:77"), ("--device cuda:77 is not usable here",)),
        (("EMPTY",), ("holds no photos",)),
        (("NONE",), ("does not exist",)),
        (("DATA", "--val-data", "NONE"), ("does not exist",)),
    ],
)
def test_training_that_cannot_start(
    wp: Wp,
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
    result = wp("train", *(places.get(str(a), a) for a in arguments), "-o", tmp_path / "run")
    assert_refused(result, *words)
    assert not (tmp_path / "run").exists()


def test_exports_that_cannot_work(wp: Wp, tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "noise.pth").write_bytes(b"noise")
    torch.save({"epoch": 1}, tmp_path / "other.pth")
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["model"]["wavemodules.0.conv.0.bias"][0] = float("nan")
    torch.save(content, tmp_path / "nan.pth")
    before = sorted(p.name for p in tmp_path.iterdir())
    for name, words in (
        ("none.pth", "does not exist"),
        ("noise.pth", "not a PyTorch checkpoint"),
        ("other.pth", "contains no weights"),
        ("nan.pth", "contains NaN"),
    ):
        assert_refused(wp("export", tmp_path / name, "-o", tmp_path / "bundle"), words)
    (tmp_path / "bundle").mkdir()
    assert_refused(wp("export", tiny_checkpoint, "-o", tmp_path / "bundle"), "exists already", "--overwrite")
    assert_refused(wp("export", tiny_checkpoint, "-o", tiny_checkpoint / "b"), "is a file, not a folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "bundle"])


def test_info(wp: Wp, tiny_bundle: Bundle, tmp_path: Path) -> None:
    text = wp("info", tiny_bundle.folder).stdout.decode()
    for words in ("wavepaint", "multiples of 8", "10 cases against PyTorch", "no record in the checkpoint"):
        assert words in text
    shipped = wp("info").stdout.decode()
    assert "recipe default" in shipped
    manifest = json.loads(wp("info", tiny_bundle.folder, "--json").stdout)
    assert manifest == json.loads((tiny_bundle.folder / "manifest.json").read_text())
    assert_refused(wp("info", tmp_path), "holds no manifest.json")
    shutil.copytree(tiny_bundle.folder, tmp_path / "odd")
    (tmp_path / "odd" / "manifest.json").write_text(json.dumps({**manifest, "verification": {"model.onnx": [{}]}}))
    assert_refused(wp("info", tmp_path / "odd"), "is damaged: Object missing required field `passed`")


def test_settings_are_printed_as_a_file_that_trains(photo_folder: Path, tmp_path: Path, wp: Wp) -> None:
    shown = wp("train", "--show-config", *TINY_TRAINING, "--steps", 2, "--hyper-parameter", "final_dim=8")
    assert shown.returncode == 0, shown.stderr.decode()
    (tmp_path / "mine.toml").write_bytes(shown.stdout)
    again = wp("train", "--config", tmp_path / "mine.toml", "--show-config")
    assert again.stdout == shown.stdout
    trained = wp("train", photo_folder, "-o", tmp_path / "run", "--config", tmp_path / "mine.toml", "--seed", 7)
    assert trained.returncode == 0, trained.stderr.decode()
    config = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["training"]["config"]
    assert (config["seed"], config["data"]["crop_size"], config["hyper_parameters"]["final_dim"]) == (7, 32, 8)


def test_a_second_stage_is_blended_with_the_first_and_told_of(photo_folder: Path, tmp_path: Path, wp: Wp) -> None:
    first, second, between = (tmp_path / name for name in ("first", "second", "between.pt"))
    begin = ("--steps", 2, *TINY_TRAINING, "--hyper-parameter", "final_dim=8", "--hyper-parameter", "ff_channel=8")
    assert wp("train", photo_folder, "-o", first, *begin).returncode == 0
    trained = wp("train", photo_folder, "-o", second, *begin, "--init-from", first / "best.pt", "--seed", 1)
    assert trained.returncode == 0, trained.stderr.decode()
    blended = wp("blend", first / "best.pt", second / "best.pt", "-o", between, "--share", 0.7)
    assert blended.returncode == 0, blended.stderr.decode()
    assert_refused(wp("blend", first / "best.pt", second / "best.pt", "-o", between), "exists already")
    assert_refused(wp("blend", first / "best.pt", "none.pt", "-o", tmp_path / "x.pt"), "none.pt does not exist")
    exported = wp("export", between, "-o", tmp_path / "bundle")
    assert exported.returncode == 0, exported.stderr.decode()
    told = wp("info", tmp_path / "bundle").stdout.decode()
    for words in ("recipe default, 2 steps of 2 crops of 32 px", "begun from best.pt", "70% of it and 30% of best.pt"):
        assert words in told


def test_what_a_training_needs_is_said_by_its_usage(wp: Wp, photo_folder: Path) -> None:
    for arguments, words in (
        ((photo_folder,), "--out"),
        (("-o", "run"), "DATA"),
        ((photo_folder, "-o", "run", "--resume", "--init-from", "x.pt"), "leave --init-from out"),
        ((photo_folder, "-o", "run", "--hyper-parameter", "level"), "expected NAME=VALUE"),
        (("--recipe", "unknown"), "lama-places"),
    ):
        result = wp("train", *arguments)
        assert result.returncode == 2
        assert words in result.stderr.decode()
