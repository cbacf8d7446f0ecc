"""Unusual and broken files: each is read as viewers show it, or refused with its name."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

from tests.hostile.images import jpeg_of_scans, tiff_of_directories
from tests.image_files import chunk, encoded, png, png_header, tiff
from wavepaint.errors import ImageError, WavePaintWarning
from wavepaint.jpeg_scans import count_scans
from wavepaint.runtime.images import encode_photo, read_mask, read_photo, write_photo
from wavepaint.runtime.images.arrays import as_stored

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
PHOTO, OTHER = Image.fromarray(RGB), Image.fromarray(255 - RGB)


def bits(levels: list[int], depth: int, *chunks: bytes) -> bytes:
    """Return a grey PNG of one row with few bits a pixel."""
    line = sum(level << (8 - depth * (i + 1)) for i, level in enumerate(levels))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(levels), 1, depth, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes([0, line]))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body


def test_a_decompression_bomb_is_not_decoded() -> None:
    with pytest.raises(ImageError, match="larger than 178 megapixels.*Scale or crop"):
        read_photo(png_header(60_000, 60_000))


@pytest.mark.parametrize(("width", "height"), [(31, 20), (30, 21), (30, 40), (3000, 2000), (1, 60_000)])
def test_a_png_with_fewer_pixels_than_its_header_claims_is_refused(width: int, height: int) -> None:
    data = encoded(PHOTO, "PNG").replace(struct.pack(">II", 30, 20), struct.pack(">II", width, height))
    with pytest.raises(ImageError):
        read_photo(data)
    whole = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))  # with a correct checksum
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_photo(data[:8] + whole + data[33:])


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(20, 30, 3), (21, 31, 1), (1, 1, 4), (4, 3, 2)], ids=str)
def test_a_black_png_is_read_unless_it_lacks_pixels(shape: tuple[int, int, int], dtype: type, interlaced: bool) -> None:
    black = np.zeros(shape, dtype)
    data = png(black, interlaced=interlaced)
    assert np.array_equal(read_photo(data).pixels, black)
    packed = zlib.compress(zlib.decompress(data[41:-16])[:-1])
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_photo(data[:33] + chunk(b"IDAT", packed) + data[-12:])


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_and_several_pages_are_refused(file_format: str) -> None:
    data = encoded(PHOTO, file_format, save_all=True, append_images=[OTHER, PHOTO])
    for read in (read_photo, read_mask):
        with pytest.raises(ImageError, match="holds several frames or pages: expected one. Save the one you want"):
            read(data)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "WEBP", "JPEG", "GIF"])
def test_an_image_of_one_pixel_is_read(file_format: str) -> None:
    white = Image.new("L" if file_format == "GIF" else "RGB", (1, 1), "white")
    data = encoded(white, file_format)
    assert (read_photo(data).pixels == 255).all()
    assert read_photo(data).size == (1, 1)
    assert read_mask(data).tolist() == [[True]]


@pytest.mark.parametrize("profile", [None, b"a profile"])
def test_cmyk_is_refused_with_and_without_a_profile(profile: bytes | None) -> None:
    for file_format in ("JPEG", "TIFF"):
        with pytest.raises(ImageError, match="mode CMYK.*convert it to RGB with its ICC profile"):
            read_photo(encoded(PHOTO.convert("CMYK"), file_format, icc_profile=profile))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(RNG.random((4, 4)).astype(np.float32)), "mode F.*16-bit grey"),
        (tiff(RNG.random((4, 4, 3)).astype(np.float32), photometric="rgb"), "none of PNG"),
        (tiff(np.arange(16, dtype=np.int16).reshape(4, 4)), "mode I"),
        (tiff(np.arange(16, dtype=np.uint32).reshape(4, 4)), "mode I|none of PNG"),
    ],
    ids=["float", "float colour", "signed", "32 bits"],
)
def test_float_signed_and_32_bit_pixels_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_photo(data)


def test_a_tiff_of_12_bits_is_refused_rather_than_darkened() -> None:
    data = bytearray(encoded(Image.fromarray(np.zeros((2, 4), np.uint16)), "TIFF"))
    entry = struct.pack("<HHL", 258, 3, 1)  # bits a channel
    place = data.index(entry) + len(entry)
    data[place : place + 2] = struct.pack("<H", 12)
    with pytest.raises(ImageError, match="12 bits a channel"):
        read_photo(bytes(data))


@pytest.mark.skipif(not cv2.haveImageWriter("x.avif"), reason="this OpenCV cannot write AVIF")
def test_avif_is_read_at_8_bits_and_refused_at_10() -> None:
    assert read_photo(encoded(PHOTO, "AVIF")).pixels.shape == RGB.shape
    _, data = cv2.imencode(".avif", RGB.astype(np.uint16) * 4, [cv2.IMWRITE_AVIF_DEPTH, 10])
    with pytest.raises(ImageError, match="more than 8 bits"):
        read_photo(data.tobytes())


def test_jpeg_2000_is_read_at_8_bits_and_refused_at_12() -> None:
    data = encoded(PHOTO, "JPEG2000", no_jp2=True)
    assert np.array_equal(read_photo(data).pixels, RGB)
    place = data.index(b"\xff\x4f\xff\x51") + 42
    assert data[place] == 7
    with pytest.raises(ImageError, match="more than 8 bits"):
        read_photo(data[:place] + b"\x0b" + data[place + 1 :])


@pytest.mark.parametrize("entry", [0, 9, 99])
def test_an_invalid_orientation_means_upright(entry: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = entry
    exif[0x010F] = "Maker"
    with pytest.warns(WavePaintWarning, match="orientation is .* expected 1 to 8"):
        photo = read_photo(encoded(PHOTO, "PNG", exif=exif))
    assert np.array_equal(photo.pixels, RGB)
    with Image.open(io.BytesIO(encode_photo(photo))) as image:
        assert dict(image.getexif()) == {0x010F: "Maker"}


def test_broken_exif_is_dropped_with_a_warning() -> None:
    data = png(RGB, chunk(b"eXIf", b"neither II nor MM"))
    with pytest.warns(WavePaintWarning, match="EXIF cannot be read"):
        photo = read_photo(data)
    assert np.array_equal(photo.pixels, RGB)
    assert "exif" not in photo.save_options


def test_a_profile_that_cannot_be_unpacked_is_dropped_with_a_warning() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = png(RGB, chunk(b"iCCP", b"x\0\0" + b"not packed" + profile))
    with pytest.warns(WavePaintWarning, match="ICC profile cannot be read and is dropped"):
        photo = read_photo(data)
    assert np.array_equal(photo.pixels, RGB)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_that_is_cut_off_is_written_unchanged(file_format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:100]
    photo = read_photo(encoded(PHOTO, file_format, icc_profile=profile))
    with Image.open(io.BytesIO(encode_photo(photo))) as image:
        assert image.info["icc_profile"] == profile


def test_exif_of_a_tiff_keeps_the_picture_tags_and_drops_the_layout_tags(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x8769] = {0x9003: "2020:02:02 20:20:20", 0x829A: 0.01}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    for options in ({}, {"big_tiff": True}):
        photo = read_photo(encoded(PHOTO, "TIFF", exif=exif.tobytes(), dpi=(300, 300), **options))
        for suffix in (".png", ".jpg", ".tif", ".webp"):
            write_photo(photo, tmp_path / f"a{suffix}", overwrite=True)
            with Image.open(tmp_path / f"a{suffix}") as image:
                found = image.getexif()
                assert found[0x010F] == "Maker"
                assert found.get_ifd(0x8769) == {0x9003: "2020:02:02 20:20:20", 0x829A: 0.01}
                assert found.get_ifd(0x8825) == {1: "N", 2: (1.0, 2.0, 3.0)}
                if suffix != ".tif":
                    assert set(found) == {0x010F, 0x8769, 0x8825}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint16, 1), (np.uint16, 2), (np.uint16, 3)])
def test_a_tiff_is_turned_upright(orientation: int, dtype: type, channels: int) -> None:
    stored = RNG.integers(0, np.iinfo(dtype).max, (20, 30, channels), dtype=dtype)
    tag = (274, "H", 1, orientation, True)
    kind = {"photometric": "rgb" if channels == 3 else "minisblack", "extrasamples": [2] if channels == 2 else None}
    data = tiff(stored, planarconfig="contig" if channels > 1 else None, extratags=[tag], **kind)
    photo = read_photo(data)
    assert photo.pixels.dtype == dtype
    assert np.array_equal(as_stored(photo.pixels, orientation), stored)
    assert np.array_equal(read_photo(encode_photo(photo)).pixels, photo.pixels)


def test_the_transparent_level_of_a_png_of_few_bits_becomes_alpha() -> None:
    assert read_photo(bits([0, 1], 1)).pixels[0].tolist() == [[0], [255]]
    assert read_photo(bits([0, 1], 1, chunk(b"tRNS", b"\0\0"))).pixels[0].tolist() == [[0, 0], [255, 255]]
    levels = read_photo(bits([0, 1, 2, 3], 2, chunk(b"tRNS", b"\0\2"))).pixels[0]
    assert levels.tolist() == [[0, 255], [85, 255], [170, 0], [255, 255]]


def test_a_bmp_of_5_and_6_bits_a_channel_is_a_photo() -> None:
    header = b"BM" + struct.pack("<IHHI", 14 + 52 + 4, 0, 0, 14 + 52)
    header += struct.pack("<IiiHHIIiiII", 52, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    assert read_photo(header + struct.pack("<HH", 0xF800, 0x07E0)).pixels.tolist() == [[[255, 0, 0], [0, 255, 0]]]


def test_a_photo_that_does_not_fit_into_memory_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(ImageError, match=r"the image .30x20 pixels. does not fit into memory"):
        read_photo(encoded(PHOTO, "BMP"))


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd")
def test_a_pipe_opened_by_the_shell_is_read_like_a_file() -> None:
    for content in (encoded(PHOTO, "PNG"), b""):
        source, target = os.pipe()
        with os.fdopen(source), os.fdopen(target, "wb") as writer:
            writer.write(content)
            writer.close()
            if content:
                assert np.array_equal(read_photo(f"/dev/fd/{source}").pixels, RGB)
            else:
                with pytest.raises(ImageError, match="is empty"):
                    read_photo(f"/dev/fd/{source}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (read_photo, read_mask):
        with pytest.raises(ImageError, match="is a pipe or a device: expected a file"):
            read(tmp_path / "pipe.png")


def test_a_file_larger_than_any_image_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "sparse.webp").write_bytes(encoded(PHOTO, "WEBP")[:64])
    os.truncate(tmp_path / "sparse.webp", 20 * 2**30)
    with pytest.raises(ImageError, match="has more than 2730 MiB"):
        read_photo(tmp_path / "sparse.webp")


@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "sequential"])
def test_a_jpeg_of_10_000_scans_is_refused(progressive: bool) -> None:
    with pytest.raises(ImageError, match="JPEG of 1000. scans of 9 megapixels"):
        read_photo(jpeg_of_scans(3000, 3000, 10_000, progressive=progressive))


@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "sequential"])
def test_a_small_jpeg_may_have_hundreds_of_scans(progressive: bool) -> None:
    assert read_photo(jpeg_of_scans(48, 32, 300, progressive=progressive)).size == (48, 32)


def test_scans_are_counted_as_libjpeg_decodes_them() -> None:
    exif = Image.Exif()
    exif[0x010F] = "\xff\xda" * 9  # data that look like scans
    for options, scans in (({}, 1), ({"restart_marker_blocks": 1}, 1), ({"progressive": True}, 10)):
        data = encoded(PHOTO, "JPEG", exif=exif, **options)
        assert count_scans(io.BytesIO(data + data)) == scans  # data after the end do not count


@pytest.mark.parametrize("endless", [False, True], ids=["ending", "endless"])
def test_a_tiff_of_200_000_directories_is_refused_without_reading_them(
    endless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load
    monkeypatch.setattr(
        TiffImagePlugin.ImageFileDirectory_v2, "load", lambda tags, file: loads.append(1) or load(tags, file)
    )
    with pytest.raises(ImageError, match="holds several frames or pages"):
        read_photo(tiff_of_directories(200_000, endless=endless))
    assert len(loads) <= 4


def test_a_mask_of_another_size_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PHOTO, "PNG")
    assert read_mask(data, size=(30, 20)).shape == (20, 30)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="the image is 30x21 pixels and the mask 30x20; they must be equal"):
        read_mask(data, size=(30, 21))


def test_true_is_white_in_every_bool_array() -> None:
    bilevel = Image.fromarray(GREY >= 128)
    assert bilevel.mode == "1"
    for mask in (bilevel, np.asarray(bilevel), GREY >= 128, (GREY >= 128)[::-1, ::-1][::-1, ::-1]):
        assert np.array_equal(read_mask(mask), GREY >= 128)


def test_a_turned_mask_may_have_the_stored_size_of_its_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_mask(encoded(PHOTO, "JPEG", exif=exif), size=(20, 30)).shape == (30, 20)


def test_formats_that_pillow_reads_but_that_are_not_accepted_are_refused() -> None:
    for file_format in ("SGI", "PCX", "EPS"):
        with pytest.raises(ImageError, match="none of PNG, JPEG.*Save it as PNG"):
            read_photo(encoded(PHOTO, file_format))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_upright_like_its_photo(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(GREY), "PNG", exif=exif)
    assert np.array_equal(read_mask(data), read_photo(data).pixels[..., 0] >= 128)


def test_luminance_weighs_red_green_and_blue_by_77_150_and_29() -> None:
    pixels = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    level = (pixels.astype(int) * (77, 150, 29)).sum(axis=2) // 256
    for threshold in (1, 77, 128, 255):
        assert np.array_equal(read_mask(pixels, threshold=threshold), level >= threshold)
