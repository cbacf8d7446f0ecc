"""A batch that is killed leaves only complete files, and the next run continues and cleans up."""

import os
import sys
from pathlib import Path

import pytest

from tests.hostile.kills import kill_and_resume

NUM_KILLS = int(os.environ.get("WAVEPAINT_TEST_KILLS", "2"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and locks are POSIX")
def test_killed_runs_leave_complete_files_and_the_next_run_removes_the_rest(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=NUM_KILLS, seed=0)
