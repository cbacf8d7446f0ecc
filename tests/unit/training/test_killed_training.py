"""Training that is killed, as by the system for want of memory or by a power cut, leaves nothing broken behind."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.unit.processes import CONTEXT
from tests.unit.test_training import CONFIG, Silent, assert_same_state, photos  # noqa: F401
from wavepaint.data.split import read_split
from wavepaint.training.loop import BEST, LAST, SPLIT, Trainer
from wavepaint.weights.checkpoint import read_checkpoint

NUM_KILLS = int(os.environ.get("WAVEPAINT_TEST_KILLS", "3"))
RUN = CONFIG.change({"optimization": {"save_every": 1, "ema_decay": 0.9}})


def train(data: Path, out: Path) -> None:
    """Begin the run, or go on with it."""
    torch.set_num_threads(1)
    Trainer(RUN, data, out, device="cpu", resume=(out / LAST).exists()).run(Silent())


def assert_whole(out: Path) -> None:
    """Whatever has its final name can be read to its end."""
    for name in (LAST, BEST):
        if (out / name).exists():
            read_checkpoint(out / name)
    if (out / SPLIT).exists():
        read_split(out / SPLIT)
    for path in out.glob("samples/[!.]*"):
        Image.open(path).load()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_never_was(photos: Path, tmp_path: Path) -> None:  # noqa: F811
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
        # Within the time of a whole run, so that some die before their first save and most at one.
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
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (whole, cut)]
    assert [row["loss"] for row in logs[1]] == [row["loss"] for row in logs[0]]
