"""``wp infer`` on large photos: its peak memory, and a bound on it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read as on Linux")

_PEAK = """
import sys
from wavepaint.cli import main
sys.argv[0] = "wp"
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measure_peak_mb(folder: Path, *arguments: object) -> float:
    """Return the peak resident memory of ``wp ARGUMENTS`` in a new process, in MiB."""
    command = [sys.executable, "-c", _PEAK, *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return int(result.stdout) / 1024


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_108_megapixel_photo_with_a_dozen_holes_stays_under_3_gib(tmp_path: Path, photo: np.ndarray) -> None:
    mask = np.zeros((9000, 12000), np.uint8)
    for number in range(12):
        top, left = 200 + 2900 * (number // 4), 150 + 2950 * (number % 4)
        mask[top : top + 20 + 20 * number, left : left + 40 + 20 * number] = 255
    Image.fromarray(photo).resize((12000, 9000), Image.Resampling.NEAREST).save(tmp_path / "large.jpg", quality=70)
    Image.fromarray(mask).save(tmp_path / "mask.png", compress_level=1)
    assert measure_peak_mb(tmp_path, "infer", "large.jpg", "mask.png", "-o", "out.jpg") < 3 * 1024
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == (12000, 9000)


def test_a_bound_on_memory_is_respected_or_refused(wp_here: Wp, tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).resize((3000, 2000)).save(tmp_path / "photo.png", compress_level=1)
    mask = np.zeros((2000, 3000), np.uint8)
    mask[200:1800, 200:2800] = np.random.default_rng(0).random((1600, 2600)) < 0.5
    Image.fromarray(mask * 255).save(tmp_path / "mask.png")
    arguments = ["infer", tmp_path / "photo.png", tmp_path / "mask.png", "-o", tmp_path / "out.png"]
    assert_refused(wp_here(*arguments, "--max-memory", 350), "350 MiB are too few", "needs", "--max-memory")
    assert_refused(
        wp_here(*arguments, "--strategy", "whole", "--max-memory", 900), "too many for one run", "--strategy auto"
    )
    mask[700:] = mask[:, 750:] = 0  # a crop that takes more than 1 GiB without a bound
    Image.fromarray(mask * 255).save(tmp_path / "mask.png")
    assert measure_peak_mb(tmp_path, *arguments, "--max-memory", 700) < 700
