"""``wp infer`` refuses broken files in one line and writes nothing."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.image_files import chunk, encoded, png, png_header, tiff

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (64, 80, 3), dtype=np.uint16)
PHOTO, OTHER = Image.fromarray(RGB), Image.fromarray(255 - RGB)


def taller(data: bytes) -> bytes:
    """Return a PNG whose header claims twice as many lines as there are, with a valid checksum."""
    width, height, rest = struct.unpack(">II5s", data[16:29])
    return data[:8] + chunk(b"IHDR", struct.pack(">II5s", width, 2 * height, rest)) + data[33:]


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb.png": (lambda: png_header(60_000, 60_000), "larger than"),
    "taller.png": (lambda: taller(png(RGB)), "damaged or cut off"),
    "taller16.png": (lambda: taller(png(DEEP)), "damaged or cut off"),
    "cut.jpg": (lambda: encoded(PHOTO, "JPEG")[:-500], "damaged or cut off"),
    "cut16.tif": (lambda: tiff(DEEP, photometric="rgb")[:-5000], "cut off"),
    "noise.webp": (lambda: b"RIFF\xff\xff\xff\x7fWEBPVP8 " + RNG.bytes(500), "noise.webp"),
    "moving.webp": (lambda: encoded(PHOTO, "WEBP", save_all=True, append_images=[OTHER]), "several frames"),
    "print.jpg": (lambda: encoded(PHOTO.convert("CMYK"), "JPEG"), "CMYK"),
    "float.tif": (lambda: tiff(RGB[..., 0].astype(np.float32)), "mode F"),
    "text.png": (lambda: b"<html>404 not found</html>", "not an image"),
}


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_photo_or_mask_causes_one_line_and_no_file(wp_here: Wp, name: str, tmp_path: Path) -> None:
    make, words = BROKEN[name]
    (tmp_path / name).write_bytes(make())
    size = (80, 128) if name.startswith("taller") else PHOTO.size  # a mask must have the photo's size
    PHOTO.resize(size).save(tmp_path / "good.png")
    good, broken, out = tmp_path / "good.png", tmp_path / name, tmp_path / "out.png"
    for arguments in ((broken, good), (good, broken)) if name.startswith("taller") else ((broken, good),):
        assert_refused(wp_here("infer", *arguments, "-o", out), name, words)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(("good.png", name))
