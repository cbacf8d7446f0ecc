"""What all scripts in benchmarks/ have in common."""

import importlib

import click
import pytest
from click.testing import CliRunner

from tests.conftest import REPOSITORY
from wavepaint.cli.one_line_errors import OneLineErrors

SCRIPTS = sorted(
    path.stem for path in (REPOSITORY / "benchmarks").glob("*.py") if "@click.command" in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_bad_input_shows_no_traceback(name: str) -> None:
    assert isinstance(importlib.import_module(f"benchmarks.{name}").main, OneLineErrors)


def test_ctrl_c_in_a_script_is_one_line_and_status_130() -> None:
    @click.command(cls=OneLineErrors)
    def script() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(script)
    assert (result.exit_code, result.output) == (130, "interrupted. Every file that was written is complete.\n")
