"""Running ``wp`` as people do: in a process of its own, looking at status, output and files."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Wp = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def wp() -> Wp:
    """Run ``wp ARGUMENTS``; never raises."""

    def run(
        *arguments: object, stdin: bytes = b"", cwd: Path | None = None, timeout: float = 240
    ) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "wavepaint", *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, timeout=timeout, check=False)

    return run


def assert_refused(result: "subprocess.CompletedProcess[bytes]", *words: str, status: int = 1) -> None:
    """One clear line (or click's usage text) on stderr, nothing on stdout, no traceback."""
    message = result.stderr.decode()
    assert result.returncode == status, message
    assert "Traceback" not in message
    assert result.stdout == b""
    if status == 1:
        errors = [line for line in message.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, message
    for word in words:
        assert word in message
