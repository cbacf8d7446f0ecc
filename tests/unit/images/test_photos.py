"""Decoding and encoding lose nothing. A photo or a file that would lose something is refused with its name."""

import io
import os
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tests.image_files import encoded
from wavepaint.errors import ImageError, OutputError, WavePaintWarning
from wavepaint.runtime.images import Photo, encode_photo, read_mask, read_photo, write_photo
from wavepaint.runtime.images.encode import name_result

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
GREY_16 = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)


@pytest.mark.parametrize("array", [RGB, RGBA, RGBA[..., :2], GREY, GREY_16], ids=["RGB", "RGBA", "LA", "L", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_files_come_back_bit_for_bit(tmp_path: Path, array: np.ndarray, suffix: str) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    Image.fromarray(array).save(source)
    photo = read_photo(source)
    assert photo.pixels.dtype == array.dtype
    assert np.array_equal(photo.pixels.reshape(array.shape), array)
    write_photo(photo, target)
    with Image.open(target) as image:
        assert np.array_equal(np.asarray(image).reshape(array.shape), array)


@pytest.mark.parametrize(
    "source",
    [RGB, Image.fromarray(RGB), encoded(Image.fromarray(RGB), "PNG")],
    ids=["array", "PIL", "bytes"],
)
def test_an_array_a_pil_image_and_bytes_give_the_same_photo(source: Any) -> None:
    assert np.array_equal(read_photo(source).pixels, RGB)


def test_palettes_become_rgb_or_rgba_and_1_bit_images_grey() -> None:
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(read_photo(palette).pixels, np.asarray(palette.convert("RGB")))
    transparent = encoded(palette, "PNG", transparency=0)
    assert read_photo(transparent).pixels.shape == (20, 30, 4)
    assert np.array_equal(read_photo(Image.fromarray(GREY > 99)).pixels[..., 0], (GREY > 99) * np.uint8(255))
    assert read_photo(encoded(Image.fromarray(RGB), "PNG", transparency=(1, 2, 3))).pixels.shape == (20, 30, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_removed_from_the_exif(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    data = encoded(Image.fromarray(RGB), "PNG", exif=exif)
    photo = read_photo(data)
    assert photo.size == ((30, 20) if orientation <= 4 else (20, 30))
    with Image.open(io.BytesIO(encode_photo(photo))) as image:
        assert 0x0112 not in image.getexif()
        assert image.getexif()[0x010F] == "Maker"
        assert np.array_equal(np.asarray(image), photo.pixels)
    if orientation == 6:
        assert np.array_equal(photo.pixels, np.rot90(RGB, k=-1))


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".jpg", np.uint8), (".png", np.uint8), (".tif", np.uint8), (".webp", np.uint8), (".avif", np.uint8),
        (".png", np.uint16), (".tif", np.uint16),
    ],
)  # fmt: skip
def test_text_of_the_exif_keeps_its_bytes(suffix: str, dtype: type) -> None:
    exif = Image.Exif()
    names = {0x013B: "Jürgen Müller, 東京タワー", 0x8298: "© Zoë"}
    for tag, name in names.items():
        exif[tag] = name.encode()
    photo = read_photo(encoded(Image.fromarray(RGB), "JPEG", exif=exif))
    photo = replace(photo, pixels=photo.pixels.astype(dtype))
    with Image.open(io.BytesIO(encode_photo(photo, Path("a" + suffix)))) as image:
        assert {tag: image.getexif()[tag].encode("latin-1").decode() for tag in names} == names


def test_the_size_in_the_exif_is_turned_with_the_pixels() -> None:
    width, height = ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.IFD.Exif] = {width: 30, height: 20}
    photo = read_photo(encoded(Image.fromarray(RGB), "JPEG", exif=exif))
    with Image.open(io.BytesIO(encode_photo(photo))) as image:
        sides = image.getexif().get_ifd(ExifTags.IFD.Exif)
        assert (sides[width], sides[height]) == image.size == (20, 30)


@pytest.mark.parametrize("suffix", [".bmp", ".tga", ".ppm", ".jp2"])
def test_a_format_without_metadata_warns_of_what_is_lost(suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = read_photo(encoded(Image.fromarray(RGB), "PNG", icc_profile=profile))
    with pytest.warns(WavePaintWarning, match=f"a{suffix}: .* no ICC profile, so the result lacks it. PNG keeps it"):
        encode_photo(photo, Path("a" + suffix))


def test_a_png_with_a_foreign_gamma_is_noticed() -> None:
    def make_png(gamma: int) -> bytes:
        chunk = b"gAMA" + struct.pack(">I", gamma)
        data = encoded(Image.fromarray(RGB), "PNG")
        return data[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]

    with pytest.warns(WavePaintWarning, match="not sRGB"):
        read_photo(make_png(100_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_photo(make_png(45_455))


def test_avif_is_written_with_little_loss() -> None:
    again = read_photo(encode_photo(Photo(RGB), Path("a.avif"))).pixels
    assert np.abs(again.astype(int) - RGB).mean() < 3  # noise of full contrast; Pillow's own settings: 48


def test_a_grey_pgm_stays_one(tmp_path: Path) -> None:
    assert (name_result(Path("a.pgm")), name_result(Path("a.pbm"))) == (Path("a.pgm"), Path("a.png"))
    write_photo(read_photo(GREY), tmp_path / "a.pgm")
    assert np.array_equal(read_photo(tmp_path / "a.pgm").pixels[..., 0], GREY)


def test_a_codestream_of_jpeg_2000_has_no_container() -> None:
    photo = Photo(np.ascontiguousarray(RGB))
    assert encode_photo(photo, Path("a.j2k"))[:4] == encode_photo(photo, Path("a.jpc"))[:4] == b"\xff\x4f\xff\x51"
    assert encode_photo(photo, Path("a.jp2"))[4:8] == b"jP  "


def test_icc_profile_and_resolution_are_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for file_format in ("PNG", "JPEG", "TIFF"):
        photo = read_photo(encoded(Image.fromarray(RGB), file_format, icc_profile=profile, dpi=(300, 300)))
        with Image.open(io.BytesIO(encode_photo(photo))) as image:
            assert image.format == file_format
            assert image.info["icc_profile"] == profile
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_jpeg_keeps_its_quantization(photo: np.ndarray) -> None:
    data = encoded(Image.fromarray(photo), "JPEG", quality=37, subsampling="4:2:0")
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(encode_photo(read_photo(data)))) as after:
        assert before.quantization == after.quantization  # type: ignore[attr-defined]
        difference = np.abs(np.asarray(before).astype(int) - np.asarray(after).astype(int))
    assert difference.mean() < 0.5


def test_webp_is_written_lossless(tmp_path: Path) -> None:
    write_photo(read_photo(RGBA), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as image:
        assert np.array_equal(np.asarray(image), RGBA)


def test_a_camera_jpeg_with_a_second_picture_is_read() -> None:
    data = encoded(Image.fromarray(RGB), "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
        assert np.array_equal(read_photo(data).pixels, np.asarray(image))
    assert read_photo(data).format == "JPEG"


def test_big_endian_16_bit_grey_is_read(tmp_path: Path) -> None:
    Image.fromarray(GREY_16.astype(">u2")).save(tmp_path / "a.tif")
    assert np.array_equal(read_photo(tmp_path / "a.tif").pixels[..., 0], GREY_16)


def test_a_result_can_be_read_again() -> None:
    photo = read_photo(encoded(Image.fromarray(RGB), "JPEG"))
    again = read_photo(photo.to_pil())
    assert np.array_equal(again.pixels, photo.pixels)
    assert encode_photo(again)[:2] == b"\xff\xd8"


def test_a_pil_image_that_is_not_decoded_yet_is_checked_like_a_file() -> None:
    cut = Image.open(io.BytesIO(encoded(Image.fromarray(RGB), "PNG")[:200]))
    with pytest.raises(ImageError, match="the image is damaged or cut off"):
        read_photo(cut)
    with pytest.raises(ImageError, match="the mask is empty"):
        read_mask(b"")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "mode CMYK.*ICC profile"),
        (Image.fromarray(RGB).convert("LAB"), "mode LAB"),
        (Image.fromarray(RNG.random((4, 4)).astype(np.float32)), "mode F"),
        (
            encoded(Image.fromarray(RGB), "GIF", save_all=True, append_images=[Image.fromarray(255 - RGB)]),
            "several frames",
        ),
        (b"", "the image is empty"),
        (b"hello, I am not an image", "not an image"),
        (encoded(Image.fromarray(RGB), "PNG")[:200], "damaged or cut off"),
        (encoded(Image.fromarray(RGB), "JPEG")[:300], "damaged or cut off|not an image"),
        (RNG.random((4, 4, 3)), "float64: expected uint8"),
        (np.zeros((4, 4, 5), np.uint8), r"\(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (42, "is of type int: expected a path"),
    ],
)
def test_images_that_cannot_be_kept_are_refused(source: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_photo(source)


def test_paths_that_are_not_image_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    for path, message in (
        (tmp_path, "is a folder"), (tmp_path / "none.png", "does not exist"), (tmp_path / "empty.png", "is empty")
    ):  # fmt: skip
        with pytest.raises(ImageError, match=message):
            read_photo(path)


@pytest.mark.parametrize(
    ("array", "suffix", "message"),
    [
        (RGBA, ".jpg", "JPEG.*alpha. PNG can hold it"),
        (RGB, ".gif", "256 colours"),
        (GREY_16, ".jpg", "JPEG.*16 bits"),
        (GREY_16, ".webp", "WEBP.*16 bits"),
        (RGBA, ".bmp", "BMP.*alpha"),
        (RGB, ".pdf", "PDF files are not written"),
        (RGB, ".xyz", "not a known image suffix"),
        (RGB, ".pgm", "a .pgm file holds no colours"),
        (RGB, ".pbm", ".pbm and .pfm files are not written"),
        (np.zeros((1, 65_501, 3), np.uint8), ".jpg", "JPEG.*more than 65500 pixels a side. PNG can"),
        (np.zeros((16_384, 1), np.uint8), ".webp", "WEBP.*more than 16383 pixels a side"),
    ],
)
def test_formats_that_cannot_hold_the_photo_are_refused(
    tmp_path: Path, array: np.ndarray, suffix: str, message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        write_photo(read_photo(array), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


def test_white_pixels_are_the_hole() -> None:
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    assert read_mask(grey).tolist() == [[False, False, True, True]]
    assert read_mask(grey, invert=True).tolist() == [[True, True, False, False]]
    assert read_mask(grey, threshold=1).tolist() == [[False, True, True, True]]
    assert read_mask(np.repeat(grey[..., None], 3, axis=2)).tolist() == [[False, False, True, True]]
    assert read_mask(np.array([[True, False]])).tolist() == [[True, False]]
    assert read_mask(np.array([[0, 65535]], np.uint16)).tolist() == [[False, True]]


def test_transparent_pixels_are_black_or_with_mask_from_alpha_the_hole() -> None:
    pixels = np.array([[[255, 255, 255, 255], [255, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    assert read_mask(pixels).tolist() == [[True, False, False]]
    assert read_mask(pixels, mask_from="alpha").tolist() == [[False, True, False]]
    with pytest.raises(ImageError, match="no alpha channel"):
        read_mask(RGB, mask_from="alpha")


def test_a_file_without_read_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, because the tests may run as root, who can read every file."""
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"a\.png cannot be read: Permission denied"):
        read_photo(path)


def test_a_folder_without_write_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*a\.png: Permission denied"):
        write_photo(read_photo(RGB), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
