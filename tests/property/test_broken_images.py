"""Broken files of every accepted format decode to a photo or raise an ImageError, in little time and memory.

The files are made from a fixed seed. They are decoded in a process of their own, which limits its memory.
"""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.hostile import count_examples


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory limit is set through /proc")
def test_broken_files_are_photos_or_image_errors() -> None:
    count = count_examples(500)
    command = [sys.executable, "-m", "tests.hostile.limited", str(count)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=count, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    refused, read = map(int, result.stdout.split())
    assert refused + read == count
    assert min(refused, read) > count // 10  # both outcomes occur
