"""Memory does not grow with the number of photographs that were filled."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from wavepaint import Inpainter

NUM_FILLS = int(os.environ.get("WAVEPAINT_TEST_FILLS", "100"))
WARM_UP = 20
"""Fills until the engine and the allocator hold what they keep."""

SLACK_MB = 8
"""What fragments of the heap may add: far less than the float32 copy of each of 100 photographs, 24 MB."""


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_many_fills_in_a_row_take_the_memory_of_one() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (4, 128, 160, 3), np.uint8)
    hole = np.zeros(photos.shape[1:3], bool)
    hole[60:70, 70:90] = True
    with Inpainter(engine="ort-cpu", threads=1) as inpainter:
        for number in range(WARM_UP + NUM_FILLS):
            if number == WARM_UP:
                gc.collect()
                before = resident_mb()
            photo = photos[number % len(photos)]
            filled = inpainter.fill_array(photo, hole)
            assert np.array_equal(filled[~hole], photo[~hole])
    gc.collect()
    assert resident_mb() - before < SLACK_MB
