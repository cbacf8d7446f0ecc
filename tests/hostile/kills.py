"""Kills ``wp infer`` on many photos again and again."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import REPOSITORY

MAX_SECONDS = 120.0
"""Longest time until the first result of a run, on a busy machine."""

_PER_RUN = 400
"""Photos for each run, more than it fills before it is killed."""


def kill_and_resume(folder: Path, *, kills: int, seed: int) -> None:
    """Kill runs with SIGKILL, soon after their first result, and let the last one finish.

    Args:
        folder: An empty folder.
        kills: Number of runs to kill.
        seed: Seed for the moments.

    Raises:
        AssertionError: A run left half a file, or the last run did not remove everything else.
    """
    rng = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "p.png")
    hole = np.zeros((96, 96), bool)
    hole[40:56, 40:56] = True
    Image.fromarray(hole).save(folder / "m.png")
    rows = [{"image": "p.png", "mask": "m.png", "out": f"{number}.png"} for number in range(kills * _PER_RUN)]
    places, out = folder / "list.jsonl", folder / "out"
    places.write_text("\n".join(map(json.dumps, rows)))
    command = [
        sys.executable,
        "-m",
        "wavepaint",
        "infer",
        str(places),
        "-o",
        str(out),
        "--resume",
        "--engine",
        "ort-cpu",
    ]
    for _ in range(kills):
        before, deadline = len(_list(out)), time.monotonic() + MAX_SECONDS
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        try:
            while len(_list(out)) == before:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        for path in _list(out):
            with Image.open(path) as image:
                assert np.array_equal(np.asarray(image)[~hole], pixels[~hole]), path
    finished = {path.name for path in _list(out)}
    left = [row for row in rows if row["out"] not in finished][:2]
    places.write_text("\n".join(json.dumps(row) for row in rows if row["out"] in finished or row in left))
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=MAX_SECONDS)
    assert result.returncode == 0, result.stderr
    assert f"2 filled, {len(finished)} skipped" in result.stderr
    assert {path.name for path in out.iterdir()} == {*finished, *(row["out"] for row in left)}


def _list(out: Path) -> list[Path]:
    """Return the results, without temporaries, whose names begin with a dot."""
    return [path for path in out.glob("*") if not path.name.startswith(".")]
