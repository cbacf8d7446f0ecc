"""``wp segment`` writes a palette PNG, or refuses with one line and writes nothing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.class_bundle import write_class_bundle
from wavepaint.contract import CLASSIFICATION, SEGMENTATION


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_class_bundle(tmp_path / "bundle", SEGMENTATION).folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.full((20, 30, 3), (255, 0, 0), np.uint8)
    pixels[:, 20:] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_map_has_the_classes_and_the_overlay_the_colours(
    wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path
) -> None:
    files = ("-o", tmp_path / "map.png", "--overlay", tmp_path / "look.jpg")
    result = wp_here("segment", photo, *files, "--bundle", bundle)
    assert result.returncode == 0, result.stderr.decode()
    assert "map.png: 66.7% red, 33.3% blue" in result.stderr.decode()
    with Image.open(tmp_path / "map.png") as image:
        assert image.mode == "P"
        assert np.asarray(image)[0].tolist() == [0] * 20 + [2] * 10
    with Image.open(tmp_path / "look.jpg") as image:
        assert image.size == (30, 20)


def test_existing_files_are_kept(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "look.png").write_bytes(b"mine")
    arguments = ("segment", photo, "-o", tmp_path / "map.png", "--overlay", tmp_path / "look.png", "--bundle", bundle)
    assert_refused(wp_here(*arguments), "look.png exists already", "--overwrite")
    assert (tmp_path / "look.png").read_bytes() == b"mine"
    assert not (tmp_path / "map.png").exists()
    assert wp_here(*arguments, "--overwrite").returncode == 0
    assert (tmp_path / "look.png").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("out", "overlay", "words"),
    [
        ("map.jpg", "look.png", "a class map is a PNG file"),
        ("map.png", "look.xyz", "not a known image suffix"),
        ("map.png", "map.png", "are one file"),
        ("photo.png", "look.png", "one of the inputs"),
    ],
)
def test_files_that_cannot_be_written_are_refused_first(
    wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path, out: str, overlay: str, words: str
) -> None:
    before = photo.read_bytes()
    result = wp_here(
        "segment", photo, "-o", tmp_path / out, "--overlay", tmp_path / overlay, "--bundle", bundle, "--overwrite"
    )
    assert_refused(result, words)
    assert photo.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "photo.png"}


def test_a_missing_photo_writes_nothing(wp_here: Wp, bundle: Path, tmp_path: Path) -> None:
    result = wp_here("segment", tmp_path / "absent.png", "-o", tmp_path / "map.png", "--bundle", bundle)
    assert_refused(result, "absent.png does not exist")
    assert not (tmp_path / "map.png").exists()


def test_more_classes_than_a_palette_holds_are_refused(wp_here: Wp, photo: Path, tmp_path: Path) -> None:
    labels = [str(number) for number in range(257)]
    bundle = write_class_bundle(tmp_path / "many", SEGMENTATION, labels=labels).folder
    result = wp_here("segment", photo, "-o", tmp_path / "map.png", "--bundle", bundle)
    assert_refused(result, "257 classes, and a palette PNG 256")


def test_a_classifier_names_its_command(wp_here: Wp, photo: Path, tmp_path: Path) -> None:
    bundle = write_class_bundle(tmp_path / "classes", CLASSIFICATION).folder
    result = wp_here("segment", photo, "-o", tmp_path / "map.png", "--bundle", bundle)
    assert_refused(result, "Run it with wp classify.")
