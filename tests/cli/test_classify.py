"""``wp classify`` shows the classes of photos, or refuses a bundle or a photo with one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import write_bundle
from tests.fakes.class_bundle import write_class_bundle
from wavepaint.contract import CLASSIFICATION, SEGMENTATION


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_class_bundle(tmp_path / "bundle", CLASSIFICATION).folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.full((20, 30, 3), (0, 204, 102), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_one_photo_shows_its_classes(wp_here: Wp, bundle: Path, photo: Path) -> None:
    result = wp_here("classify", photo, "--bundle", bundle)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().splitlines() == ["  98.2%  green", "   1.8%  blue", "   0.0%  red"]


def test_several_photos_are_named(wp_here: Wp, bundle: Path, photo: Path) -> None:
    lines = wp_here("classify", photo, photo, "--bundle", bundle, "--top", 1).stdout.decode().splitlines()
    assert lines == [f"{photo}:", "  98.2%  green"] * 2


def test_json_has_every_photo_and_the_errors(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    result = wp_here("classify", photo, tmp_path / "absent.png", "--bundle", bundle, "--top", 2, "--json")
    assert result.returncode == 1
    first, second = json.loads(result.stdout)
    assert [one["label"] for one in first["classes"]] == ["green", "blue"]
    assert first["classes"][0]["index"] == 1
    assert "absent.png does not exist" in second["error"]
    assert result.stderr.decode().count("error: ") == 1


def test_a_broken_photo_does_not_stop_the_others(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:40])
    result = wp_here("classify", tmp_path / "broken.png", photo, "--bundle", bundle)
    assert result.returncode == 1
    assert "green" in result.stdout.decode()
    assert "Traceback" not in result.stderr.decode()


def test_the_bundle_must_be_named(wp_here: Wp, photo: Path) -> None:
    assert_refused(wp_here("classify", photo), "Missing option '--bundle'", status=2)


def test_a_bundle_of_another_task_names_its_command(wp_here: Wp, photo: Path, tmp_path: Path) -> None:
    fill = write_bundle(tmp_path / "fill").folder
    segment = write_class_bundle(tmp_path / "segment", SEGMENTATION).folder
    assert_refused(wp_here("classify", photo, "--bundle", fill), "Run it with wp infer.")
    assert_refused(wp_here("classify", photo, "--bundle", segment), "Run it with wp segment.")


def test_commands_that_fill_refuse_a_classifier(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    for arguments in (
        ("infer", photo, photo, "-o", tmp_path / "out.png", "--bundle", bundle),
        ("paint", photo, "--bundle", bundle),
        ("serve", bundle),
        ("page", "-o", tmp_path / "site", "--bundle", bundle),
        ("export", bundle, "-o", tmp_path / "engines", "--engine", "tensorrt"),
        ("export", bundle, "--triton", tmp_path / "triton"),
    ):
        assert_refused(wp_here(*arguments), "is a bundle for classification", "Run it with wp classify.")
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "photo.png"}


def test_info_verify_and_doctor_take_a_classifier(wp_here: Wp, bundle: Path, tmp_path: Path) -> None:
    described = wp_here("info", bundle).stdout.decode()
    for words in ("for classification", "(wp classify pads for you)", "3: red, green, blue", "as they are"):
        assert words in described
    verified = wp_here("verify", bundle, "--store", "--json", tmp_path / "report.json")
    assert verified.returncode == 0, verified.stderr.decode()
    assert "same class" in verified.stdout.decode()
    for report in json.loads((tmp_path / "report.json").read_text())["verification"]["model.onnx"]:
        assert report["passed"]
        assert report["max_relative_error"] <= 1e-5
        assert "min_psnr_hole_db" not in report
    assert "of the logits' range" in wp_here("info", bundle).stdout.decode()
    assert "wp classify --bundle" in wp_here("doctor", bundle).stdout.decode()
