"""Progress on standard error, for every command: a tqdm bar on a terminal, and lines that always appear.

    with Progress(len(jobs), unit="photo") as progress:
        for result in results:
            progress.advance()
            if result.error:
                progress.print_line(f"failed: {result.error}")

Without a terminal the bar is silent. Lines from :meth:`Progress.print_line` always appear, above the bar if there is
one. The bar disappears when the work ends, and the command prints its own summary.
"""

import sys
import time
from threading import Event, RLock, Thread
from typing import Any, Self

from tqdm import tqdm

_TEXT_ONLY = "{desc} [{elapsed}]"

SHORT_S = 1.0
"""Work that takes less than this many seconds needs no bar."""

_TICK_S = 0.5


class Progress:
    """A bar that shows how much of the work is done. Close it, or use it as a context manager.

    Args:
        total: Units of work; None if unknown, in which case only the description and the elapsed time are shown.
        unit: Name of a unit in the singular, such as ``"photo"`` or ``"step"``.
        initial: Units that an earlier run has done.
        delay_s: Seconds before the bar appears. With a delay a thread keeps the elapsed time up to date, even while a
            single call takes long.
        smoothing: Share of the newest unit in the speed that the time left is computed from; 0 is the mean speed.
    """

    def __init__(
        self,
        total: int | None,
        *,
        unit: str = "it",
        initial: int = 0,
        delay_s: float = 0.0,
        smoothing: float = 0.3,
    ) -> None:
        self.num_done = initial
        bar_format = _TEXT_ONLY if total is None else None
        self._options = {
            "total": total,
            "unit": unit,
            "initial": initial,
            "bar_format": bar_format,
            "smoothing": smoothing,
        }
        self._text, self._started, self._delay_s = "", time.time(), delay_s
        self._bar: Any = None
        self._lock, self._is_closed = RLock(), Event()
        self._thread: Thread | None = None
        if not delay_s:
            self._show()
        elif sys.stderr.isatty():
            self._thread = Thread(target=self._keep_fresh, daemon=True)
            self._thread.start()

    def _show(self) -> None:
        with self._lock:
            self._bar = tqdm(
                **self._options,
                desc=self._text,
                leave=False,
                dynamic_ncols=True,
                disable=None,  # silent unless the stream is a terminal
                file=sys.stderr,
            )
            self._bar.n, self._bar.start_t = self.num_done, self._started

    def _keep_fresh(self) -> None:
        if not self._is_closed.wait(self._delay_s):
            self._show()
        while not self._is_closed.wait(_TICK_S):
            self._bar.refresh()

    def advance(self, count: int = 1) -> None:
        """Count further units as done."""
        with self._lock:
            self.num_done += count
            if self._bar is not None:
                self._bar.update(count)

    def move_to(self, num_done: int) -> None:
        """Set how many units are done in all; the number may be smaller than before."""
        self.advance(num_done - self.num_done)

    def describe(self, text: str) -> None:
        """Show the current task in front of the bar."""
        with self._lock:
            self._text = f"{text}: " if text and self._options["total"] is not None else text
            if self._bar is not None:
                self._bar.set_description_str(self._text)

    def show_values(self, **values: str) -> None:
        """Show values behind the bar, such as ``loss="0.0123"``; they appear with the next update."""
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)

    def print_line(self, text: str) -> None:
        """Write a line to standard error, above the bar if there is one."""
        print_line(text)

    def close(self) -> None:
        """Remove the bar."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join(timeout=1)  # it would wait for ever if Ctrl-C came while this thread held tqdm's lock
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def print_line(text: str) -> None:
    """Write a line to standard error without breaking a bar that is shown there."""
    tqdm.write(text, file=sys.stderr)
