"""``wp upscale`` writes a photo of twice the size, or refuses with one line and writes nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.upscaling_bundle import write_upscaling_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_upscaling_bundle(tmp_path / "bundle").folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_result_has_twice_the_size(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    result = wp_here("upscale", photo, "-o", tmp_path / "large.png", "--bundle", bundle)
    assert result.returncode == 0, result.stderr.decode()
    assert b"large.png: 62x40 pixels" in result.stderr
    with Image.open(tmp_path / "large.png") as large, Image.open(photo) as small:
        assert np.array_equal(np.asarray(large), np.asarray(small).repeat(2, axis=0).repeat(2, axis=1))


def test_colours_keep_their_profile(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kept in (("RGB", profile), ("L", None)):
        with Image.open(photo) as image:
            image.convert(mode).save(tmp_path / f"{mode}.png", icc_profile=profile)
        result = wp_here("upscale", tmp_path / f"{mode}.png", "-o", tmp_path / f"{mode}2.png", "--bundle", bundle)
        assert result.returncode == 0, result.stderr.decode()
        with Image.open(tmp_path / f"{mode}2.png") as large:
            assert large.info.get("icc_profile") == kept


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("kept.png", "kept.png exists already"),
        ("large.xyz", "not a known image suffix"),
        ("photo.png", "one of the inputs"),
    ],
)
def test_files_that_cannot_be_written_are_refused(
    wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path, out: str, words: str
) -> None:
    (tmp_path / "kept.png").write_bytes(b"mine")
    assert_refused(wp_here("upscale", photo, "-o", tmp_path / out, "--bundle", bundle), words)
    assert (tmp_path / "kept.png").read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "photo.png", "kept.png"}


def test_commands_of_other_tasks_name_this_one(wp_here: Wp, bundle: Path, photo: Path, tmp_path: Path) -> None:
    for command in (("infer", photo, photo), ("classify", photo), ("segment", photo, "-o", tmp_path / "map.png")):
        refused = wp_here(*command, "--bundle", bundle)
        assert_refused(refused, "is a bundle for super-resolution", "Run it with wp upscale.")
    assert_refused(
        wp_here("upscale", tmp_path / "absent.png", "-o", tmp_path / "x.png", "--bundle", bundle), "absent.png"
    )


def test_info_and_verify_take_the_bundle(wp_here: Wp, bundle: Path, tmp_path: Path) -> None:
    assert "for super-resolution" in wp_here("info", bundle).stdout.decode()
    verified = wp_here("verify", bundle, "--store", "--json", tmp_path / "report.json")
    assert verified.returncode == 0, verified.stderr.decode()
    for report in json.loads((tmp_path / "report.json").read_text())["verification"]["model.onnx"]:
        assert report["passed"]
        assert "min_psnr_db" in report
        assert "min_psnr_hole_db" not in report
    assert wp_here("doctor", bundle).returncode == 0
