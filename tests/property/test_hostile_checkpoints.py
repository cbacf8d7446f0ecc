"""Each hostile checkpoint is read, or refused with one line, soon, and none runs code."""

import os
from pathlib import Path

import pytest

from tests.hostile import count_examples, try_case
from tests.hostile.checkpoints import make_cases, read, whole_files
from wavepaint.weights.checkpoint import read_checkpoint
from wavepaint.weights.reading import read_state


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_hostile_checkpoints_are_read_or_refused_in_one_line() -> None:
    count = count_examples(40)
    outcomes = [try_case(case, read) for case in make_cases(seed=1, count=count)]
    assert 0.12 < outcomes.count("accepted") / count < 0.88  # both outcomes occur


@pytest.mark.parametrize("name", whole_files())
def test_checkpoints_are_valid_before_they_are_broken(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(whole_files()[name])
    if name == "script.pt":  # its network is not one of this project
        assert set(read_state(tmp_path / name)) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    else:
        read_checkpoint(tmp_path / name).build()
