"""Image files: builders of some that Pillow does not write, and their pixels."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step and column step of PNG's seven passes."""

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(array: np.ndarray, *chunks: bytes, interlaced: bool = False) -> bytes:
    """Return (H, W, 1 to 4) uint8 or uint16 as a PNG with unfiltered rows."""
    height, width, channels = array.shape
    passes = [array[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [array]
    big_endian = array.dtype.newbyteorder(">")
    lines = [b"\0" + line.astype(big_endian).tobytes() for one in passes if one.size for line in one]
    depth = 8 * array.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, COLOUR_TYPES[channels], 0, 0, interlaced)
    body = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG that claims a size but has only a hundred bytes of pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def tiff(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def heic(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    """Return a HEIC file of (H, W, C) that decodes to the same pixels."""
    import pillow_heif

    stream = io.BytesIO()
    file = pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    file.save(stream, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return stream.getvalue()
