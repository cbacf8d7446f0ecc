"""Hostile checkpoints: each is read, or refused with one line, soon, and none runs code."""

import os
from pathlib import Path

import pytest

from tests.hostile import try_case
from tests.hostile.checkpoints import make_cases, read, whole_files
from wavepaint.weights.checkpoint import read_checkpoint
from wavepaint.weights.reading import read_state


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_40_hostile_checkpoints_are_read_or_refused_in_one_line() -> None:
    outcomes = [try_case(case, read) for case in make_cases(seed=1, count=40)]
    assert 5 < outcomes.count("accepted") < 35  # both ends of the road are walked


@pytest.mark.parametrize("name", whole_files())
def test_what_is_broken_was_whole_before(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(whole_files()[name])
    if name == "script.pt":  # of a network that is none of ours
        assert set(read_state(tmp_path / name)) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    else:
        read_checkpoint(tmp_path / name).build()
