"""Each hostile archive of photos is read, or refused with one line, soon."""

import os
from pathlib import Path

import pytest

from tests.hostile import count_examples, try_case
from tests.hostile.archives import make_cases, read, whole_files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_hostile_archives_are_read_or_refused_in_one_line() -> None:
    count = count_examples(80)
    outcomes = [try_case(case, read) for case in make_cases(seed=1, count=count)]
    assert 0.12 < outcomes.count("accepted") / count < 0.88  # both outcomes occur


@pytest.mark.parametrize("name", whole_files())
def test_archives_are_valid_before_they_are_broken(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(whole_files()[name])
    read(tmp_path / name)
