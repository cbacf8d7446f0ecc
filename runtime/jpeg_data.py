"""How often a JPEG goes over its pixels.

Every scan of a progressive JPEG costs a pass over all coefficients, also one of a few bytes that changes none of them:
a file of a megabyte can ask for an hour. libjpeg sets no bound.
"""

import re
from typing import IO

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""What libjpeg looks for next: 00 makes FF a byte of data, D0 to D7 are restarts within a scan."""
_SEQUENTIAL, _END, _SCAN, _WITHOUT_LENGTH = (0xC0, 0xC1), 0xD9, 0xDA, (0x01, 0xD8)


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
