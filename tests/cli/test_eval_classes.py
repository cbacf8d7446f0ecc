"""``wp eval`` of classifiers and segmenters: their figures, the images a run held out, and errors in one line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import write_bundle
from tests.fakes.class_bundle import write_class_bundle
from tests.labelled_images import write_class_folders
from wavepaint.contract import CLASSIFICATION, SEGMENTATION

COLOURS = {"red": (220, 30, 40), "green": (20, 200, 60), "blue": (30, 50, 210)}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A classifier whose classes are the largest channel."""
    return write_class_bundle(tmp_path / "classifier", CLASSIFICATION).folder


@pytest.fixture
def segmenter(tmp_path: Path) -> Path:
    return write_class_bundle(tmp_path / "segmenter", SEGMENTATION).folder


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Four images of each class; one of the green ones is blue."""
    folder = tmp_path / "classes"
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(4):
            seen = COLOURS["blue"] if (name, number) == ("green", 1) else colour
            Image.new("RGB", (16 + number, 16), seen).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Two images, red above green. The label maps of the second say blue instead of green, and ignore a row."""
    folder = tmp_path / "maps"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number, below in enumerate((1, 2)):
        image, labels = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
        image[:8], image[8:] = COLOURS["red"], COLOURS["green"]
        labels[8:] = below
        labels[15] = 255 if number else below
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")
    return folder


def test_a_classifier_gets_its_accuracy_and_its_mistakes(
    wp_here: Wp, classifier: Path, classes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    result = wp_here("eval", classifier, "--data", classes, "-o", out)
    assert result.returncode == 0, result.stderr.decode()
    lines = [line.split() for line in result.stdout.decode().splitlines()]
    assert lines[1:3] == [["images", "top-1", "top-5"], ["12", "91.7%", *lines[2][2:4], "100.0%", *lines[2][5:]]]
    assert ["green", "4", "75.0%", "blue"] in lines
    assert {path.name for path in out.iterdir()} == {"eval.json", "images.csv", "mistakes.png"}
    found = json.loads((out / "eval.json").read_text())["results"][str(classifier)]
    assert found["top1"]["mean"] == pytest.approx(11 / 12)
    assert found["top1"]["low"] < 11 / 12 < found["top1"]["high"] == 1
    with (out / "images.csv").open() as stream:
        wrong = [row for row in csv.DictReader(stream) if row["rank"] != "1"]
    assert [(row["image"], row["class"], row["predicted"]) for row in wrong] == [("green/1.png", "green", "blue")]


def test_a_segmenter_gets_the_overlap_of_its_regions(wp_here: Wp, segmenter: Path, maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = wp_here("eval", segmenter, "--data", maps, "-o", out)
    assert result.returncode == 0, result.stderr.decode()
    assert {path.name for path in out.iterdir()} == {"eval.json", "images.csv", "cases.png"}
    found = json.loads((out / "eval.json").read_text())["results"][str(segmenter)]
    red, green, blue = 1.0, 128 / (128 + 112), 0.0
    assert [one["name"] for one in found["classes"]] == list(COLOURS)
    assert [one["iou"]["mean"] for one in found["classes"]] == pytest.approx([red, green, blue])
    assert found["mean_iou"]["mean"] == pytest.approx((red + green + blue) / 3)
    assert found["pixel_accuracy"]["mean"] == pytest.approx((256 + 128) / (256 + 240))


def test_two_subjects_are_compared_image_by_image(wp_here: Wp, classifier: Path, classes: Path, tmp_path: Path) -> None:
    inverted = write_class_bundle(tmp_path / "inverted", CLASSIFICATION, model={"scale": -10.0}).folder
    result = wp_here("eval", classifier, "--data", classes, "--against", inverted)
    assert result.returncode == 0, result.stderr.decode()
    *_, last = result.stdout.decode().splitlines()
    assert last.split()[:2] == ["top-1", "+91.7%"]
    assert last.split()[-1] == "96%"


def test_a_run_is_measured_on_what_it_held_out(wp_here: Wp, tmp_path: Path) -> None:
    data, run = write_class_folders(tmp_path / "pets"), tmp_path / "run"
    sizes = [("--hyper-parameter", f"{name}={value}") for name, value in
             {"final_dim": 8, "depth": 1, "ff_channel": 8, "level": 1}.items()]  # fmt: skip
    trained = wp_here(
        "train", data, "-o", run, "--task", "classify", *(word for pair in sizes for word in pair), "--workers", 0,
        "--crop-size", 16, "--steps", 1, "--val-fraction", 0.2, "--test-fraction", 0.3, "--precision", "float32",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr.decode()
    test = json.loads((run / "split.json").read_text())["test"]
    measured = wp_here("eval", run, "--data", data, "--held-out", run, "--device", "cpu", "-o", run / "test")
    assert measured.returncode == 0, measured.stderr.decode()
    assert "trained on photos" not in measured.stderr.decode()
    with (run / "test" / "images.csv").open() as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == test
    assert "trained on photos" in wp_here("eval", run, "--data", data).stderr.decode()


def test_folders_with_other_names_are_the_classes_in_order_if_there_are_as_many(
    wp_here: Wp, classifier: Path, classes: Path
) -> None:
    for old, new in (("red", "1"), ("green", "2"), ("blue", "3")):
        (classes / old).rename(classes / new)
    result = wp_here("eval", classifier, "--data", classes)
    assert "they are taken in order: 1 = red, 2 = green, 3 = blue" in result.stderr.decode()
    assert "91.7%" in result.stdout.decode()
    (classes / "3").rename(classes / "blue")
    assert_refused(wp_here("eval", classifier, "--data", classes), "2 of 3 folders", "none of the network's 3", "1, 2")


def test_what_cannot_be_measured_is_refused_in_one_line(
    wp_here: Wp, classifier: Path, segmenter: Path, classes: Path, maps: Path, tmp_path: Path
) -> None:
    refused = wp_here("eval", classifier, "--data", classes, "--size", 64)
    assert_refused(
        refused, "--size is for networks that fill holes, and SUBJECT is a network for classification", status=2
    )
    assert_refused(
        wp_here("eval", classifier, "--data", classes, "--against", segmenter), "is a network for segmentation"
    )
    twice = write_class_bundle(tmp_path / "twice", CLASSIFICATION, labels=["red", "green", "red"]).folder
    assert_refused(wp_here("eval", twice, "--data", classes), "several of the network's classes", "red.", "--labels")
    fill = write_bundle(tmp_path / "fill").folder
    assert_refused(wp_here("eval", segmenter, "--data", maps, "--against", fill), "is a network for inpainting")
    Image.fromarray(np.full((16, 16), 3, np.uint8)).save(maps / "labels" / "1.png")
    assert_refused(wp_here("eval", segmenter, "--data", maps), "1.png has the value 3: expected", "from 0 to 2")
    for name in ("0.png", "1.png"):
        Image.fromarray(np.full((16, 16), 255, np.uint8)).save(maps / "labels" / name)
    assert_refused(wp_here("eval", segmenter, "--data", maps), "no pixel of the 2 label maps has a class")
    (maps / "labels" / "0.png").unlink()
    assert_refused(wp_here("eval", segmenter, "--data", maps), "1 of 2 images have no label map")
