"""Read and write PNG and TIFF files with several channels of 16 bits each.

Pillow has no image mode for such pixels. It decodes the files (compression, predictors, interlacing, tiles, checksums)
and keeps the high byte of every value. With the byte order swapped, it keeps the low byte. Decoding a file twice
therefore gives all 16 bits, with the same checks and the same metadata as for 8-bit files.

Alternatives, measured on 3000x2000 RGB: OpenCV decodes in half the time (0.15 s against 0.46 s), but it adds 60 MB to
the installation and a second set of parsers for untrusted files, and it does not report the resolution. pypng undoes
PNG filters byte by byte in Python. tifffile needs another library for LZW, which most 16-bit TIFFs use.

Pillow cannot write such files. The two writers here use the simplest layout that compresses well: each value minus its
left neighbour (on a photo within 2 % of PNG's best filter), then zlib.
"""

import io
import re
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from wavepaint.runtime.images.arrays import iterate_strips, slice_rows
from wavepaint.runtime.images.metadata import make_tags

Deep = NDArray[np.uint16]

_RAW_MODE = re.compile(r"(?P<channels>RGB|RGBA|RGBX|LA);16(?P<order>[BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_DTYPES = {"B": np.dtype(">u2"), "L": np.dtype("<u2"), "N": np.dtype("=u2")}

# Registers 16-bit grey with alpha, so that Pillow opens such TIFFs. Pillow itself decodes "LA;16B" but not "LA;16L", so
# code that loads a little-endian file without the functions below still gets an error.
TiffImagePlugin.OPEN_INFO.setdefault((b"II", 1, (1,), 1, (16, 16), (2,)), ("RGBA", "LA;16L"))
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 1, (1,), 1, (16, 16), (2,)), ("RGBA", "LA;16B"))


def raw_mode(image: Image.Image) -> str:
    """Return the raw mode of a file before decoding, such as ``RGB;16B``; empty if it has none."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether an opened image, not decoded yet, needs :func:`read_deep_colour`."""
    return _RAW_MODE.fullmatch(raw_mode(image)) is not None and image.mode in ("RGB", "RGBA")


def read_deep_colour(image: Image.Image) -> Deep:
    """Decode an opened file with several channels of 16 bits each.

    Returns:
        (H, W, C) with C of 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha), in stored order.

    Raises:
        Exception: Any exception that Pillow raises on a broken file.
    """
    kind = _RAW_MODE.fullmatch(raw_mode(image))
    if kind is None:
        raise ValueError(f"the raw mode {raw_mode(image)} does not have several channels of 16 bits each")
    # A second image of the same file, because the first may belong to the caller.
    stream: Any = getattr(image, "fp", None)
    position = stream.tell()
    stream.seek(0)
    pixels: Deep
    with Image.open(stream, formats=[image.format or ""]) as again:
        if kind["channels"] == "LA":
            # Two 16-bit channels have as many bits as 8-bit RGBA, so one pass gives all bytes of both.
            _set_raw_mode(again, "RGBA")
            again.load()  # first, because a broken file fails here, before the array is allocated
            pixels = np.empty((image.height, image.width, 2), np.uint16)
            for rows, strip in iterate_strips(again):
                pixels[rows] = np.ascontiguousarray(strip).view(_DTYPES[kind["order"]])
        else:
            _set_raw_mode(again, f"{kind['channels']};16{_OTHER_ORDER[kind['order']]}")
            again.load()
            pixels = np.empty((image.height, image.width, len(again.getbands())), np.uint16)
            for rows, strip in iterate_strips(again):
                pixels[rows] = strip
    stream.seek(position)
    if kind["channels"] != "LA":
        del again  # frees half a photo before the second pass
        for rows, strip in iterate_strips(image):
            pixels[rows] |= strip.astype(np.uint16) << 8
    return pixels


def _set_raw_mode(image: Any, mode: str) -> None:
    image.tile = [
        tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode) for tile in image.tile
    ]


def add_key_alpha(pixels: Deep, key: int | tuple[int, ...]) -> Deep:
    """Append the alpha channel of a PNG in which one colour is transparent."""
    opaque = (pixels != np.array(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([pixels, opaque * np.uint16(65535)], axis=2)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _differences(pixels: NDArray[Any], dtype: str) -> Iterator[NDArray[Any]]:
    """Yield strips (h, W, C) in the byte order of a file, each value minus its left neighbour."""
    for rows in slice_rows(pixels.shape):
        values = pixels[rows].astype(dtype, order="C")
        if dtype == ">u2":  # PNG subtracts bytes, TIFF subtracts values
            values = values.view(np.uint8).reshape(*values.shape[:2], -1)
        values[:, 1:] -= values[:, :-1]
        yield values


def encode_png(pixels: NDArray[Any], options: Mapping[str, Any]) -> bytes:
    """Return (H, W, 2 to 4) uint16 encoded as a PNG.

    Args:
        pixels: Pixel values.
        options: Arguments of Pillow's ``save``. ``icc_profile``, ``dpi`` and ``exif`` are used, others are ignored.
    """
    height, width, channels = pixels.shape
    stream = io.BytesIO()
    stream.write(b"\x89PNG\r\n\x1a\n")
    stream.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)))
    if "icc_profile" in options:
        stream.write(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(options["icc_profile"])))
    if "dpi" in options:
        per_metre = [int(value / 0.0254 + 0.5) for value in options["dpi"]]
        stream.write(_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if "exif" in options:
        stream.write(_chunk(b"eXIf", options["exif"].removeprefix(b"Exif\0\0")))
    packer = zlib.compressobj()
    for strip in _differences(pixels, ">u2"):
        lines = strip.reshape(len(strip), -1)
        filtered = np.pad(lines, ((0, 0), (1, 0)), constant_values=1)  # filter 1 (Sub) before each row
        stream.write(_chunk(b"IDAT", packer.compress(filtered.data)))
    stream.write(_chunk(b"IDAT", packer.flush()))
    stream.write(_chunk(b"IEND", b""))
    return stream.getvalue()


def encode_tiff(pixels: NDArray[Any], options: Mapping[str, Any]) -> bytes:
    """Return (H, W, 2 to 4) uint16 encoded as a TIFF, compressed with Deflate and horizontal differences.

    Args:
        pixels: Pixel values.
        options: Arguments of Pillow's ``save``. ``icc_profile``, ``dpi`` and ``exif`` are used, others are ignored.
    """
    height, width, channels = pixels.shape
    strips = [zlib.compress(strip.data) for strip in _differences(pixels, "<u2")]
    counts = [len(strip) for strip in strips]
    tags = make_tags(options["exif"]) if "exif" in options else TiffImagePlugin.ImageFileDirectory_v2()
    if "icc_profile" in options:
        tags[TiffImagePlugin.ICCPROFILE] = options["icc_profile"]
    if "dpi" in options:
        tags[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = options["dpi"]
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (16,) * channels
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.COMPRESSION] = 8  # Deflate
    tags[TiffImagePlugin.PREDICTOR] = 2  # differences
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 1 if channels == 2 else 2
    tags[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    if channels in (2, 4):
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha, not multiplied into the colours
    tags[TiffImagePlugin.ROWSPERSTRIP] = next(slice_rows(pixels.shape)).stop
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = tuple(counts)
    # Pillow adds the length of what it writes before the strips.
    tags[TiffImagePlugin.STRIPOFFSETS] = tuple(np.cumsum([0, *counts[:-1]]).tolist())
    stream = io.BytesIO()
    tags.save(stream)
    stream.writelines(strips)
    return stream.getvalue()
