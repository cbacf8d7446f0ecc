"""How often a JPEG goes over its pixels.

Every scan of a progressive JPEG costs a pass over all coefficients, also one of a few bytes that changes none of them:
a file of a megabyte can ask for an hour. libjpeg sets no bound.
"""

import re
from typing import IO

from PIL import Image

from wavepaint.errors import ImageError

_MAX_SCANS = 16
_MAX_SCANNED_PIXELS = 2_000_000_000
"""Scans that are decoded at any size, and pixels of all scans together, where there are more. A pixel of an empty scan
takes 1 to 2 ns. Progressive JPEGs have about 10 scans."""

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""What libjpeg looks for next: 00 makes FF a byte of data, D0 to D7 are restarts within a scan."""
_SEQUENTIAL, _END, _SCAN, _WITHOUT_LENGTH = (0xC0, 0xC1), 0xD9, 0xDA, (0x01, 0xD8)


def check_scans(image: Image.Image, name: str) -> None:
    """Refuse a JPEG, opened and not decoded yet, of more scans than can be meant.

    Raises:
        ImageError: It has. Images of other formats pass, and so do decoded ones.
    """
    stream: IO[bytes] | None = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or stream is None:
        return
    scans, pixels = count_scans(stream), image.width * image.height
    if scans > max(_MAX_SCANS, _MAX_SCANNED_PIXELS // pixels):
        raise ImageError(
            f"{name} is a JPEG of {scans} scans of {pixels // 1_000_000} megapixels, which would take minutes to "
            "decode: expected about 10. Save it anew, as a JPEG that is not progressive."
        )


def count_scans(stream: IO[bytes]) -> int:
    """Return the number of scans that libjpeg decodes of a file. The position in the stream is kept."""
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
                break  # an ordinary JPEG, whose only scan holds all channels
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(data[place : place + 2], "big")
    return scans
