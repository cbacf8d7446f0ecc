"""HEIC photos of phones are read upright and kept bit for bit, or refused with a reason."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.image_files import heic
from wavepaint.errors import ImageError, OutputError, WavePaintWarning
from wavepaint.runtime.images.encode import encode_photo
from wavepaint.runtime.images.read import read_mask, read_photo

pillow_heif = pytest.importorskip("pillow_heif", reason="needs the heif extra")

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4), ("L", 1)])
def test_a_heic_photo_has_the_pixels_and_channels_of_its_file(mode: str, channels: int) -> None:
    pixels = RNG.integers(0, 256, (48, 64, channels), dtype=np.uint8)
    photo = read_photo(heic(pixels, mode))
    assert photo.pixels.dtype == np.uint8
    assert np.array_equal(photo.pixels, pixels)
    assert read_mask(heic(pixels, mode)).shape == (48, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_photo_is_turned_once_and_keeps_profile_and_exif(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    photo = read_photo(heic(RGB, exif=exif.tobytes(), icc_profile=PROFILE))
    stored = io.BytesIO()
    Image.fromarray(RGB).save(stored, "PNG", exif=exif)
    assert np.array_equal(photo.pixels, read_photo(stored.getvalue()).pixels)
    with Image.open(io.BytesIO(encode_photo(photo))) as written:
        assert written.format == "PNG"
        assert written.info["icc_profile"] == PROFILE
        assert written.getexif().get(0x010F) == "Maker"
        assert written.getexif().get(0x0112, 1) == 1


def test_what_a_result_cannot_keep_is_refused_or_told() -> None:
    deep = RNG.integers(0, 65536, (48, 64, 3), dtype=np.uint16)
    with pytest.raises(ImageError, match="has more than 8 bits a channel, which cannot be kept"):
        read_photo(heic(deep, "RGB;16"))
    pair = pillow_heif.from_pillow(Image.fromarray(RGB))
    pair.add_from_pillow(Image.fromarray(RGB))
    stream = io.BytesIO()
    pair.save(stream)
    with pytest.raises(ImageError, match="holds several frames"):
        read_photo(stream.getvalue())
    with pytest.warns(WavePaintWarning, match="its colours are not sRGB"):
        read_photo(heic(RGB, color_primaries=12))
    with pytest.raises(OutputError, match="HEIC files are not written.*Use .png"):
        encode_photo(read_photo(heic(RGB)), Path("out.heic"))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.999])
def test_a_damaged_heic_photo_is_refused(share: float) -> None:
    data = heic(RGB)
    with pytest.raises(ImageError, match="the image is|the image has"):
        read_photo(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match="the image"):
        read_photo(data[:200] + RNG.bytes(len(data) - 200))
