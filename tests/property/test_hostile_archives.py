"""Hostile archives of photos: each is read, or refused with one line, soon."""

import os
from pathlib import Path

import pytest

from tests.hostile import try_case
from tests.hostile.archives import make_cases, read, whole_files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_80_hostile_archives_are_read_or_refused_in_one_line() -> None:
    outcomes = [try_case(case, read) for case in make_cases(seed=1, count=80)]
    assert 10 < outcomes.count("accepted") < 70  # both ends of the road are walked


@pytest.mark.parametrize("name", whole_files())
def test_what_is_broken_was_whole_before(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(whole_files()[name])
    read(tmp_path / name)
