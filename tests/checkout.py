"""A copy of the checkout, for tests that write into it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY


def copy_tracked_files(target: Path) -> None:
    """Copy what a clone would have, as it is now; everything that is not ignored if there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        ignored = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist")
        shutil.copytree(REPOSITORY, target, symlinks=True, ignore=ignored)
        return
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(REPOSITORY / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name, follow_symlinks=False)
