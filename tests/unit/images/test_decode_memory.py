"""Decoding needs little more memory than the pixels. Each case is measured in a fresh process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY

SIZE = (3000, 4000)
SLACK = 12e6
"""Bytes allowed for one strip, its copies and the state of the decoder."""

MEASURE = """
import sys
from pathlib import Path
from PIL import Image
from wavepaint.runtime.images import read_mask, read_photo

def status(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(entry)).split()[1])

read = {"photo": read_photo, "mask": read_mask}[sys.argv[1]]
Image.init()
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current use
result = read(sys.argv[2])
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
@pytest.mark.parametrize(
    ("role", "kind", "share"),
    [
        ("photo", "photo.jpg", 2.4),  # 4 bytes a pixel in Pillow and 3 in the result
        ("photo", "turned.jpg", 2.4),
        ("photo", "photo.png", 2.4),
        ("mask", "grey.png", 2.0),
        ("mask", "photo.png", 1.7),
    ],
)
def test_peak_memory_stays_near_the_size_of_the_pixels(role: str, kind: str, share: float, tmp_path: Path) -> None:
    rows = np.arange(SIZE[0], dtype=np.uint8)[:, None, None]
    array = np.broadcast_to(rows, (*SIZE, 1 if kind == "grey.png" else 3))
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned.jpg" else 1
    Image.fromarray(np.ascontiguousarray(array).squeeze()).save(tmp_path / kind, exif=exif, compress_level=1)
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, role, str(tmp_path / kind)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < share * array.size + SLACK
