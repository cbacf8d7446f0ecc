"""Several channels of 16 bits each, compared with OpenCV and tifffile."""

import io
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tests.image_files import chunk, encoded, png, tiff
from wavepaint import Inpainter
from wavepaint.errors import ImageError, OutputError
from wavepaint.runtime.images import encode_photo, read_mask, read_photo, write_photo
from wavepaint.runtime.images.arrays import STRIP_PIXELS

RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 65536, (23, 31, 4), dtype=np.uint16)
RGB, LA = np.ascontiguousarray(RGBA[..., :3]), np.ascontiguousarray(RGBA[..., :2])
KINDS = pytest.mark.parametrize("array", [RGB, RGBA, LA], ids=["RGB", "RGBA", "LA"])
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

BIG_ENDIAN = {"byteorder": ">"}
DEFLATE = {"compression": "zlib", "predictor": True}


def exif(**more: int) -> Image.Exif:
    entries = Image.Exif()
    entries[0x010F] = "Maker"
    entries[0x8769] = {0x9003: "2020:02:02 20:20:20"}
    for tag, value in more.items():
        entries[int(tag, 16)] = value
    return entries


@KINDS
@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
def test_a_png_keeps_every_bit(array: np.ndarray, interlaced: bool) -> None:
    photo = read_photo(png(array, interlaced=interlaced))
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels, array)


def test_a_png_with_filters_keeps_every_bit() -> None:
    ramp = np.add.outer(np.arange(64) * 301, np.arange(80) * 77).astype(np.uint16)[..., None] + RGB[0, 0]
    for strategy in (cv2.IMWRITE_PNG_STRATEGY_FILTERED, cv2.IMWRITE_PNG_STRATEGY_DEFAULT):
        _, data = cv2.imencode(".png", ramp[..., ::-1], [cv2.IMWRITE_PNG_STRATEGY, strategy])
        assert np.array_equal(read_photo(data.tobytes()).pixels, ramp)


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (RGB, {}),
        (RGB, BIG_ENDIAN),
        (RGB, DEFLATE),
        (RGB, DEFLATE | BIG_ENDIAN),
        (RGB, {"tile": (16, 16)}),
        (RGB, {"tile": (16, 16)} | DEFLATE),
        (RGB, {"bigtiff": True}),
        (RGB, {"rowsperstrip": 4}),
        (RGBA, {"extrasamples": [2]}),
        (RGBA, {"extrasamples": [2]} | DEFLATE | BIG_ENDIAN),
        (LA, {"extrasamples": [2]}),
        (LA, {"extrasamples": [2]} | BIG_ENDIAN),
        (LA, {"extrasamples": [2]} | DEFLATE),
        (LA, {"extrasamples": [2]} | DEFLATE | BIG_ENDIAN),
    ],
    ids=str,
)
def test_a_tiff_keeps_every_bit(array: np.ndarray, options: dict[str, Any], tmp_path: Path) -> None:
    photometric = "minisblack" if array.shape[2] == 2 else "rgb"
    data = tiff(array, photometric=photometric, planarconfig="contig", **options)
    assert np.array_equal(read_photo(data).pixels, array)
    (tmp_path / "a.tif").write_bytes(data)
    assert np.array_equal(read_photo(tmp_path / "a.tif").pixels, array)


def test_lzw_is_read_and_unspecified_channels_are_dropped() -> None:
    _, data = cv2.imencode(".tif", RGB[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert np.array_equal(read_photo(data.tobytes()).pixels, RGB)
    assert np.array_equal(read_photo(tiff(RGBA, photometric="rgb", extrasamples=[0])).pixels, RGB)


@KINDS
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_other_libraries_read_the_written_files(array: np.ndarray, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_photo(read_photo(array), path)
    assert np.array_equal(read_photo(path).pixels, array)
    if suffix == ".tif":
        assert np.array_equal(tifffile.imread(path), array)
    else:
        (grey, *_, alpha) = np.moveaxis(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 2, 0)
        expected = array[..., ::-1] if array.shape[2] == 3 else array
        assert np.array_equal(grey, array[..., 2] if array.shape[2] > 2 else array[..., 0])
        assert np.array_equal(alpha, expected[..., -1])


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_a_photo_of_several_strips_keeps_every_bit(file_format: str, tmp_path: Path) -> None:
    height = 2 * STRIP_PIXELS // 1000 + 7
    array = np.tile(RGB, (height // 23 + 1, 1000 // 31 + 1, 1))[:height, :1000]
    path = tmp_path / f"a.{file_format.lower()}"
    write_photo(read_photo(array), path)
    assert np.array_equal(read_photo(path).pixels, array)
    other = tifffile.imread(path) if file_format == "TIFF" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert np.array_equal(other, array)


@KINDS
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_profile_exif_and_resolution_are_kept(array: np.ndarray, suffix: str, tmp_path: Path) -> None:
    chunks = (chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE)), chunk(b"eXIf", exif().tobytes()[6:]))
    photo = read_photo(png(array, *chunks, chunk(b"pHYs", b"\0\0\x2e\x23\0\0\x2e\x23\1")))  # 11811 per metre: 300 dpi
    write_photo(photo, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.info["icc_profile"] == PROFILE
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2020:02:02 20:20:20"
    again = read_photo(tmp_path / f"a{suffix}")
    assert again.save_options["icc_profile"] == PROFILE
    assert encode_photo(again) == encode_photo(read_photo(encode_photo(again)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    turned = chunk(b"eXIf", exif(**{"0x0112": orientation}).tobytes()[6:])
    deep = read_photo(png(RGB, turned)).pixels
    shallow = read_photo(
        encoded(Image.fromarray((RGB >> 8).astype(np.uint8)), "PNG", exif=exif(**{"0x0112": orientation}))
    )
    assert np.array_equal(deep >> 8, shallow.pixels)
    assert len(np.unique(deep)) == len(np.unique(RGB))


def test_the_transparent_colour_of_a_png_becomes_alpha() -> None:
    key = RGB[3, 5]
    photo = read_photo(png(RGB, chunk(b"tRNS", key.astype(">u2").tobytes())))
    assert np.array_equal(photo.pixels[..., :3], RGB)
    assert np.argwhere(photo.pixels[..., 3] == 0).tolist() == [[3, 5]]
    assert set(np.unique(photo.pixels[..., 3])) == {0, 65535}
    grey = np.arange(256, 290, dtype=np.uint16).reshape(1, -1, 1)
    photo = read_photo(png(grey, chunk(b"tRNS", b"\x01\x02")))
    assert np.array_equal(photo.pixels[..., :1], grey)
    assert np.flatnonzero(photo.pixels[..., 1] == 0).tolist() == [2]


def test_an_opened_pil_image_can_still_be_used_by_the_caller(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(LA))
    for source in (io.BytesIO(png(LA)), tmp_path / "a.png"):
        with Image.open(source) as image:
            assert np.array_equal(read_photo(image).pixels, LA)
            assert np.array_equal(np.asarray(image)[..., 0], LA[..., 0] >> 8)


@KINDS
def test_arrays_are_copied_in_native_byte_order(array: np.ndarray) -> None:
    own = array.copy()
    photo = read_photo(own)
    own[:] = 0
    assert np.array_equal(photo.pixels, array)
    assert photo.is_deep_colour
    swapped = read_photo(array.astype(">u2"))
    assert swapped.is_deep_colour
    assert np.array_equal(swapped.pixels, array)


def test_conversion_to_a_pil_image_is_refused() -> None:
    with pytest.raises(ImageError, match=r"16 bits in each of 3 channels.*fill_array.*write_photo"):
        read_photo(RGB).to_pil()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".jp2", ".avif", ".ppm", ".tga"])
def test_formats_without_16_bits_are_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="16 bits a channel. PNG and TIFF can"):
        write_photo(read_photo(RGB), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


def test_masks_are_thresholded_at_half_of_16_bits() -> None:
    levels = np.array([0, 0x7FFF, 0x8000, 0xFFFF], np.uint16)
    grey = np.repeat(levels[None, :, None], 3, axis=2)
    half = np.dstack([grey[..., :1], np.full((1, 4, 1), 0x7FFF, np.uint16)])
    for source in (grey, png(grey), tiff(grey, photometric="rgb")):
        assert read_mask(source).tolist() == [[False, False, True, True]]
    for source in (half, png(half)):
        assert not read_mask(source).any()
        assert read_mask(source, mask_from="alpha").all()


@KINDS
def test_a_fill_changes_only_the_hole_and_uses_the_low_bytes(array: np.ndarray) -> None:
    photo = read_photo(png(array))
    hole = np.zeros(array.shape[:2], bool)
    hole[5:15, 8:20] = True
    with Inpainter(engine="ort-cpu", threads=1) as inpainter:
        filled = inpainter.fill_photo(photo, hole).pixels
    assert filled.dtype == np.uint16
    assert np.array_equal(filled[~hole], array[~hole])
    assert np.array_equal(filled[..., 3:], array[..., 3:])
    assert len(np.unique(filled[hole][:, 0] & 0xFF)) > 10


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_refused(cut: float) -> None:
    for data in (png(RGB), tiff(RGB, photometric="rgb"), tiff(RGB, photometric="rgb", **DEFLATE)):
        with pytest.raises(ImageError):
            read_photo(data[: int(cut * len(data))])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.moveaxis(RGB, 2, 0).copy(), photometric="rgb", planarconfig="separate"), "planar"),
        (tiff(np.moveaxis(RGB, 2, 0).copy(), photometric="rgb", planarconfig="separate", **DEFLATE), "planar"),
        (tiff(RGBA, photometric="rgb", extrasamples=[1]), "alpha multiplied"),
        (tiff(RGB[..., 0].copy(), photometric="miniswhite"), "zero for white"),
        (tiff(RGB.astype(np.float32), photometric="rgb"), "damaged|not an image"),
        (tiff(RGBA, photometric="separated"), "mode CMYK.*ICC"),
        (b"P6 31 23 65535\n" + RGB.astype(">u2").tobytes(), "more than 8 bits"),
    ],
)
def test_16_bit_files_that_cannot_be_kept_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_photo(data)
