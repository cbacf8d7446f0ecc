"""Running ``wp`` in a process of its own or, which is faster, in this one; both return status, output and errors."""

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.fakes.inpainter import fake_inpainter
from wavepaint.cli import infer, main

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


@pytest.fixture
def wp_here(monkeypatch: pytest.MonkeyPatch) -> Wp:
    """Run ``wp ARGUMENTS`` in this process; never raises an error of the package."""

    def run(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        out, err, status = io.BytesIO(), io.BytesIO(), 0
        with monkeypatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", ["wp", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err, write_through=True))
            try:
                main()
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            written = out.getvalue(), err.getvalue()
        return subprocess.CompletedProcess(sys.argv, status, *written)

    return run


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``wp_here("infer", ...)`` use a model that returns photos unchanged, for tests of everything around it."""
    monkeypatch.setattr(infer, "Inpainter", lambda *arguments, **options: nullcontext(fake_inpainter()))


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
