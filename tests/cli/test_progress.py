"""Progress is a bar on a terminal and silent elsewhere; lines appear on both."""

import io
import sys

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
