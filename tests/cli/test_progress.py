"""Progress is a bar on a terminal and silent elsewhere; lines appear on both."""

import io
import sys
import time

import pytest

from wavepaint.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO], ids=["terminal", "file"])
@pytest.mark.parametrize("total", [3, None])
def test_the_bar_needs_a_terminal_and_lines_do_not(
    kind: type[io.StringIO], total: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = kind()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(total, unit="photo", initial=1) as progress:
        progress.describe("building")
        progress.show_values(failed="1")
        progress.advance()
        progress.move_to(3)
        progress.print_line("failed: a.png is broken")
        assert progress.num_done == 3
    shown = stream.getvalue()
    assert "failed: a.png is broken\n" in shown
    assert ("building" in shown) == stream.isatty()
    assert ("3/3" in shown) == (stream.isatty() and total is not None)
    if not stream.isatty():
        assert shown == "failed: a.png is broken\n"


def test_an_empty_description_leaves_only_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(3, unit="step") as progress:
        progress.describe("validating")
        assert stream.getvalue().split("\r")[-1].startswith("validating:   0%|")
        progress.describe("")
        assert stream.getvalue().split("\r")[-1].startswith("  0%|")


def show_late(stream: io.StringIO, delay_s: float, wanted: str) -> None:
    """Describe work in a late bar, and wait until ``wanted`` is shown."""
    with Progress(None, delay_s=delay_s) as progress:
        progress.describe("filling 12%")
        deadline = time.monotonic() + 20
        while wanted not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.005)
        progress.describe("filling 34%")


def test_a_late_bar_appears_while_a_single_call_takes_long_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    show_late(stream, 0.001, "filling 12% [")
    shown = stream.getvalue()
    assert "filling 34% [" in shown
    assert shown.endswith("\r")
    assert shown.split("\r")[-2].isspace()


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    show_late(stream, 3600.0, "")
    assert stream.getvalue() == ""


def test_a_late_bar_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    show_late(stream, 1e-6, "")
    assert stream.getvalue() == ""
