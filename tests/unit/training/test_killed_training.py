"""A killed run, as by a power cut, leaves no broken file and continues as if nothing had happened."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.unit.training.processes import CONTEXT
from tests.unit.training.runs import CONFIG, Recorder, assert_same_state, read_log
from wavepaint.data.split import read_split
from wavepaint.training.loop import Trainer
from wavepaint.training.run_folder import BEST, LAST, SPLIT
from wavepaint.weights.checkpoint import read_checkpoint

NUM_KILLS = int(os.environ.get("WAVEPAINT_TEST_KILLS", "3"))
RUN = CONFIG.change({"optimization": {"save_every": 1, "ema_decay": 0.9}})


def train(data: Path, out: Path) -> None:
    """Start the run, or continue it."""
    torch.set_num_threads(1)
    Trainer(RUN, data, out, device="cpu", resume=(out / LAST).exists()).run(Recorder())


def assert_whole(out: Path) -> None:
    """Every file with its final name is complete."""
    for name in (LAST, BEST):
        if (out / name).exists():
            read_checkpoint(out / name)
    if (out / SPLIT).exists():
        read_split(out / SPLIT)
    for path in out.glob("samples/[!.]*"):
        Image.open(path).load()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_run_killed_repeatedly_ends_like_an_uninterrupted_one(photos: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    begun = time.monotonic()
    process = CONTEXT.Process(target=train, args=(photos, whole))
    process.start()
    process.join()
    seconds = time.monotonic() - begun
    chance, kills = random.Random(0), 0
    while True:
        process = CONTEXT.Process(target=train, args=(photos, cut))
        process.start()
        # The kills fall within the time of a whole run: some before the first save, most during or after one.
        process.join(chance.uniform(0, seconds) if kills < NUM_KILLS else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
        assert_whole(cut)
    assert process.exitcode == 0
    expected, got = (read_checkpoint(folder / LAST) for folder in (whole, cut))
    assert_same_state(got.state, expected.state)
    assert_same_state(got.resume, expected.resume)
    assert_same_state(read_checkpoint(cut / BEST).state, read_checkpoint(whole / BEST).state)
    assert [row["loss"] for row in read_log(cut)] == [row["loss"] for row in read_log(whole)]
