"""Detect PNG files with missing rows of pixels.

Pillow refuses a file that is cut off. It accepts pixel data that end early at the end of a row, and returns the missing
rows as black. Counting the rows means decompressing the file again, so only images with a black last row are counted.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step and column step of each pass of an interlaced PNG."""

_PIECE = 2**16


def may_lack_rows(image: Image.Image) -> bool:
    """Return whether one of the last two rows of a decoded image is black. An interlaced PNG may end with either."""
    last = np.asarray(image.crop((0, max(0, image.height - 2), image.width, image.height)))
    return not last.reshape(len(last), -1).any(axis=1).all()


def lacks_rows(stream: IO[bytes]) -> bool:
    """Return whether the data of a PNG end before its last pixel. The position of the stream does not change."""
    position = stream.tell()
    try:
        stream.seek(16)
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", stream.read(13))
        passes = _PASSES if interlaced else ((0, 0, 1, 1),)
        missing = 0  # bytes, with one byte for the filter of each row
        for first_row, first_column, rows, columns in passes:
            num_rows, num_columns = -((first_row - height) // rows), -((first_column - width) // columns)
            if num_rows > 0 and num_columns > 0:
                missing += num_rows * (1 + (num_columns * depth * _CHANNELS[colour] + 7) // 8)
        unpacker = zlib.decompressobj()
        for piece in _pixel_data(stream):
            while piece and missing > 0:
                missing -= len(unpacker.decompress(piece, _PIECE))
                piece = unpacker.unconsumed_tail
        return missing > len(unpacker.flush())
    finally:
        stream.seek(position)


def _pixel_data(stream: IO[bytes]) -> Iterator[bytes]:
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            while length > 0 and (piece := stream.read(min(length, _PIECE))):
                length -= len(piece)
                yield piece
            stream.seek(4, 1)
        else:
            stream.seek(length + 4, 1)
