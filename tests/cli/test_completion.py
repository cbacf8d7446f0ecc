"""Completion in a real bash, on a terminal."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from tests.conftest import REPOSITORY

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on Windows")
BASH = shutil.which("bash")

COMPLETIONS = {
    "wp expo": "wp export ",
    "wp train ": "wp train photos/",
    "wp train photos/ --init-from def": "wp train photos/ --init-from default ",
    "wp infer photos/o": "wp infer photos/one.jpg ",
}


def has_recent_bash() -> bool:
    """Return whether bash is 4.4 or newer, as completion needs."""
    if BASH is None:
        return False
    version = subprocess.run([BASH, "-c", "echo ${BASH_VERSINFO[@]:0:2}"], capture_output=True, text=True, check=True)
    return tuple(map(int, version.stdout.split())) >= (4, 4)


@pytest.mark.skipif(not has_recent_bash(), reason="there is no bash 4.4 or newer")
def test_the_tab_key_completes_and_prints_no_error(tmp_path: Path) -> None:
    """Each line is typed, completed with a tab, and shown by a command that is put before it."""
    (tmp_path / "cwd" / "photos").mkdir(parents=True)
    (tmp_path / "cwd" / "photos" / "one.jpg").touch()
    program = tmp_path / "wp"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m wavepaint "$@"\n')
    program.chmod(0o755)
    page = (REPOSITORY / "docs" / "install.md").read_text()
    (enable,) = re.findall(r"`(eval .*bash_source.*)`", page)
    typed = "".join(f'{line}\t\x01printf "<%s>" "\x05"\n' for line in COMPLETIONS)
    script = f"PS1=; {enable}\n{typed}exit\n"
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "TERM": "dumb",
    }
    terminal, child = pty.openpty()
    process = subprocess.Popen(
        [str(BASH), "--norc", "--noprofile", "-i"],
        stdin=child, stdout=child, stderr=child, cwd=tmp_path / "cwd", env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    deadline = Timer(120, process.kill)
    deadline.start()
    os.write(terminal, script.encode())
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    deadline.cancel()
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "rror" not in text
    assert "Traceback" not in text
    assert re.findall(r"<(wp [^<>]*)>", text) == [*COMPLETIONS.values()], text
