"""A run of many photographs that is killed leaves whole files alone, and the next one goes on and tidies up."""

import os
import sys
from pathlib import Path

import pytest

from tests.hostile.kills import kill_and_resume

NUM_KILLS = int(os.environ.get("WAVEPAINT_TEST_KILLS", "3"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and locks are POSIX")
def test_killed_runs_leave_whole_files_and_the_next_one_removes_the_rest(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=NUM_KILLS, seed=0)
