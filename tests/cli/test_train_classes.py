"""``wp train --task``: from folders to a bundle that names classes, and what is refused in one line."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.labelled_images import SIDE, write_class_folders, write_label_folders

TINY = ("--workers", 0, "--precision", "float32", "--hyper-parameter", "final_dim=8", "--hyper-parameter", "depth=1",
        "--hyper-parameter", "ff_channel=8", "--hyper-parameter", "level=1")  # fmt: skip
"""A small network."""
QUICK = ("--steps", 24, "--steps-per-epoch", 8, "--batch-size", 8, "--learning-rate", 0.02, "--label-smoothing", 0)


def check(result: "subprocess.CompletedProcess[bytes]") -> str:
    assert result.returncode == 0, result.stderr.decode()
    return result.stderr.decode()


def assert_loss_falls(run: Path) -> None:
    first, *_, last = (json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines())
    assert last < 0.5 * first


def test_folders_of_classes_become_a_bundle_that_names_them(wp_here: Wp, tmp_path: Path) -> None:
    data, run, bundle = write_class_folders(tmp_path / "pets"), tmp_path / "run", tmp_path / "bundle"
    told = check(wp_here("train", data, "-o", run, "--task", "classify", *TINY, *QUICK, "--crop-size", 16))
    assert "2 classes: blue, red ones; " in told
    assert "Top-1 accuracy: " in told
    assert ", 100 % at its best" in told
    assert_loss_falls(run)
    check(wp_here("export", run / "best.pt", "-o", bundle, "--no-fusion"))
    rows = json.loads(wp_here("classify", data / "blue" / "0.png", data / "red ones" / "0.png", "--bundle", bundle,
                              "--json").stdout)  # fmt: skip
    assert [row["classes"][0]["label"] for row in rows] == ["blue", "red ones"]
    described = wp_here("info", bundle).stdout.decode()
    assert "scaled to 16x16 pixels (cropped to the centre" in described
    assert "Top-1 accuracy 100 %" in described


def test_label_maps_become_a_bundle_that_finds_regions(wp_here: Wp, tmp_path: Path) -> None:
    data, run, bundle = write_label_folders(tmp_path / "squares"), tmp_path / "run", tmp_path / "bundle"
    (tmp_path / "labels.txt").write_text("sea\nisland\n")
    options = ("--crop-size", 32, "--labels", tmp_path / "labels.txt", "--min-crop", 0.8)
    told = check(wp_here("train", data, "-o", run, "--task", "segment", *TINY, *QUICK, *options))
    assert "2 classes: sea, island; " in told
    assert "Mean IoU: " in told
    assert_loss_falls(run)
    check(wp_here("export", run / "best.pt", "-o", bundle, "--no-fusion"))
    image, out = data / "images" / "0.png", tmp_path / "map.png"
    assert "% sea, " in check(wp_here("segment", image, "-o", out, "--bundle", bundle))
    with Image.open(out) as found, Image.open(data / "labels" / "0.png") as labels:
        assert found.size == labels.size == (2 * SIDE, 2 * SIDE)
        assert (np.asarray(found) == np.asarray(labels))[2:].mean() > 0.9


def test_stopped_run_continues_with_its_own_task_and_labels(wp_here: Wp, tmp_path: Path) -> None:
    data, run = write_class_folders(tmp_path / "pets"), tmp_path / "run"
    start = ("train", data, "-o", run, "--task", "classify", *TINY, "--steps", 1, "--crop-size", 16)
    check(wp_here(*start))
    check(wp_here("train", data, "-o", run, "--resume"))
    shown = wp_here("train", data, "-o", run, "--resume", "--show-config").stdout.decode()
    assert shown.startswith('task = "classify"\n')
    assert "num_classes = 2\n" in shown
    refused = wp_here("train", data, "-o", run, "--resume", "--task", "segment")
    assert_refused(refused, "has --task classify: leave --task segment out")
    labels = wp_here("train", data, "-o", run, "--resume", "--labels", data / "labels.txt")
    assert_refused(labels, "leave --labels out", status=2)


def test_an_unprintable_folder_is_no_class(wp_here: Wp, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "pets", per_class=2)
    (data / "blue").rename(data / "bl\x1bue")
    refused = wp_here("train", data, "-o", tmp_path / "run", "--task", "classify", *TINY, "--steps", 1)
    assert_refused(refused, "'bl\\x1bue' cannot be the name of a class", "--labels")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--task", "classify", "--masks", "thin"), "--masks: no such setting with --task classify. Leave it out"),
        (("--task", "segment", "--adversarial-kind", "none"), "--adversarial-kind: no such setting"),
        (("--label-smoothing", 0.1), "--label-smoothing: no such setting with --task inpaint"),
        (("--task", "classify", "--monitor", "mean-iou"), "--monitor is mean-iou: expected top-1 or top-5"),
        (("--task", "classify", "--recipe", "lama-places"), "is for --task inpaint, not for --task classify"),
        (("--task", "classify", "--download-weights"), "has no loss that needs weights"),
        (("--task", "classify", "--architecture", "unet"), "unet is not a classifier"),
        (("--architecture", "wavemix-segmenter"), "is not an inpainting network"),
        (("--task", "classify", "--crop-size", 50), "--crop-size is 50: this network needs a multiple of 16"),
        (("--task", "classify", "--init-from", "default"), "expected a classifier or a segmenter"),
        (("--task", "segment"), "have no label map"),
    ],
)
def test_settings_that_do_not_suit_the_task_are_refused(
    arguments: tuple[str, ...], words: str, wp_here: Wp, tmp_path: Path
) -> None:
    data = write_class_folders(tmp_path / "pets", per_class=2)
    assert_refused(wp_here("train", data, "-o", tmp_path / "run", "--steps", 1, "--workers", 0, *arguments), words)
    assert not (tmp_path / "run").exists()


def test_labels_are_for_classes(wp_here: Wp, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "pets", per_class=2)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    labels = ("--labels", tmp_path / "labels.txt", "--steps", 1)
    assert_refused(wp_here("train", data, "-o", tmp_path / "run", *labels), "has no classes: leave --labels out")
    refused = wp_here("train", data, "-o", tmp_path / "run", "--task", "classify", *labels)
    assert_refused(refused, "there are 3 labels, and ", "has 2 classes")
