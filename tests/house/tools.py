"""Run the project's tools, and list the files that its rules are about."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY

ROOMS = ("wavepaint", "export", "runtime", "benchmarks", "tests", "docs", "examples")


def run_module(*command: str, folder: Path = REPOSITORY) -> None:
    """Run ``python -m COMMAND`` in the checkout or another folder, and fail with its output."""
    result = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def find_files(suffix: str) -> list[Path]:
    """Return the project's files with a suffix, each once: no caches, no builds, no links."""
    found = list(REPOSITORY.glob(f"*{suffix}"))
    for room in ROOMS:
        found += (REPOSITORY / room).rglob(f"*{suffix}")
    return sorted(path for path in found if path.resolve() == path and "__pycache__" not in path.parts)


@cache
def parse_all() -> dict[Path, list[ast.AST]]:
    """Return the syntax nodes of every Python file."""
    return {path: list(ast.walk(ast.parse(path.read_text()))) for path in find_files(".py")}
