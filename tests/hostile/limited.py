"""Decode broken images in a process with limited memory: ``python -m tests.hostile.limited COUNT``.

The limit applies to the whole process. A crash, a hang or a claim of gigabytes therefore ends this process only.
"""

import contextlib
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from tests.hostile.images import make_files, mutate
from wavepaint.errors import ImageError, OutputError, WavePaintWarning
from wavepaint.runtime.images import Photo, encode_photo, read_mask, read_photo

MAX_SECONDS = 10
"""Longest time to decode one file."""

MAX_BYTES = 2**30
"""Most memory for decoding one file, in addition to the interpreter and its libraries."""


def check(name: str, data: bytes) -> str:
    """Decode a file as a photo and as a mask; return "read" or "refused". A photo must survive being written as PNG."""
    outcomes = []
    for read in (read_photo, read_mask):
        started = time.monotonic()
        try:
            result = read(data)
        except ImageError as error:
            message = str(error)
            assert "\n" not in message, f"{name}: {message!r}"
            assert message.endswith("."), f"{name}: {message!r}"
            outcomes.append("refused")
        else:
            pixels = result if isinstance(result, np.ndarray) else result.pixels
            assert pixels.dtype in (np.bool_, np.uint8, np.uint16), name
            assert 0 not in pixels.shape, name
            if isinstance(result, Photo):
                assert np.array_equal(read_photo(encode_photo(result, Path("a.png"))).pixels, pixels), name
                with contextlib.suppress(OutputError):  # its EXIF or resolution may be more than its format can store
                    encode_photo(result)
            outcomes.append("read")
        seconds = time.monotonic() - started
        assert seconds < MAX_SECONDS, f"{name}: {seconds:.0f} s"
    assert outcomes[0] == outcomes[1], f"{name}: {outcomes}"
    return outcomes[0]


def main(count: int) -> None:
    """Check every valid file and ``count`` broken ones. Print how many broken files were refused and read."""
    files = make_files()
    for name, data in files.items():
        assert check(name, data) == "read", name
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MAX_BYTES,) * 2)
    warnings.simplefilter("ignore")  # from Pillow
    warnings.simplefilter("always", WavePaintWarning)
    counts = {"refused": 0, "read": 0}
    for number in range(count):
        name, data = mutate(number, files)
        print(name, file=sys.stderr, flush=True)  # after a crash, the last line names the file
        counts[check(name, data)] += 1
    print(counts["refused"], counts["read"])


if __name__ == "__main__":
    main(int(sys.argv[1]))
