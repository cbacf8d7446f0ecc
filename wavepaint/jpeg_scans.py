"""Count the scans of a JPEG, and refuse files with too many.

A progressive JPEG stores its pixels in several scans. Each scan costs a pass over all coefficients, even if it has only
a few bytes and changes none of them. A file of one megabyte can therefore take an hour to decode, and libjpeg sets no
limit.
"""

import re
from typing import IO

from PIL import Image

from wavepaint.errors import ImageError

_MAX_SCANS = 16
"""A JPEG with at most this many scans is decoded at any size. Progressive JPEGs have about 10."""

_MAX_SCANNED_PIXELS = 2_000_000_000
"""Limit on the pixels of all scans together if there are more scans. A pixel of an empty scan takes 1 to 2 ns."""

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""The next marker, as libjpeg finds it. FF 00 is a data byte, and FF D0 to FF D7 are restarts within a scan."""
_SEQUENTIAL, _END, _SCAN, _WITHOUT_LENGTH = (0xC0, 0xC1), 0xD9, 0xDA, (0x01, 0xD8)


def check_scans(image: Image.Image, name: str) -> None:
    """Refuse a JPEG with too many scans. Images of other formats pass, and so do decoded images.

    Args:
        image: An opened image that is not decoded yet.
        name: Name for messages.

    Raises:
        ImageError: The JPEG has too many scans.
    """
    stream: IO[bytes] | None = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or stream is None:
        return
    scans, pixels = count_scans(stream), image.width * image.height
    if scans > max(_MAX_SCANS, _MAX_SCANNED_PIXELS // pixels):
        raise ImageError(
            f"{name} is a JPEG of {scans} scans of {pixels // 1_000_000} megapixels, which would take minutes to "
            "decode: expected about 10 scans. Save it again as a JPEG that is not progressive."
        )


def count_scans(stream: IO[bytes]) -> int:
    """Return the number of scans that libjpeg would decode. The position of the stream does not change."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(position)
    scans, place, channels = 0, 2, b""
    while (found := _MARKER.search(data, place)) is not None:
        marker, place = found[1][0], found.end()
        if marker == _END:
            break
        if marker in _SEQUENTIAL:
            channels = data[place + 7 : place + 8]
        if marker == _SCAN:
            scans += 1
            if channels and data[place + 2 : place + 3] == channels:
                break  # a baseline JPEG, whose only scan has all channels
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(data[place : place + 2], "big")
    return scans
