"""What all scripts in benchmarks/ have in common."""

import importlib

import pytest

from tests.conftest import REPOSITORY
from wavepaint.cli.one_line_errors import OneLineErrors

SCRIPTS = sorted(
    path.stem for path in (REPOSITORY / "benchmarks").glob("*.py") if "@click.command" in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_bad_input_shows_no_traceback(name: str) -> None:
    assert isinstance(importlib.import_module(f"benchmarks.{name}").main, OneLineErrors)
