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
from typing import Self

from tqdm import tqdm

_TEXT_ONLY = "{desc} [{elapsed}]"


class Progress:
    """A bar that shows how much of the work is done. Close it, or use it as a context manager.

    Args:
        total: Units of work; None if unknown, in which case only the description and the elapsed time are shown.
        unit: Name of a unit in the singular, such as ``"photo"`` or ``"step"``.
        initial: Units that an earlier run has done.
    """

    def __init__(self, total: int | None, *, unit: str = "it", initial: int = 0) -> None:
        self._bar = tqdm(
            total=total,
            initial=initial,
            unit=unit,
            leave=False,
            dynamic_ncols=True,
            disable=None,  # silent unless the stream is a terminal
            file=sys.stderr,
            bar_format=_TEXT_ONLY if total is None else None,
        )
        self.num_done = initial

    def advance(self, count: int = 1) -> None:
        """Count further units as done."""
        self.num_done += count
        self._bar.update(count)

    def move_to(self, num_done: int) -> None:
        """Set how many units are done in all; the number may be smaller than before."""
        self.advance(num_done - self.num_done)

    def describe(self, text: str) -> None:
        """Show the current task in front of the bar."""
        self._bar.set_description_str(text if self._bar.total is None else f"{text}: ")

    def show_values(self, **values: str) -> None:
        """Show values behind the bar, such as ``loss="0.0123"``; they appear with the next update."""
        self._bar.set_postfix(values, refresh=False)

    def print_line(self, text: str) -> None:
        """Write a line to standard error, above the bar if there is one."""
        print_line(text)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def print_line(text: str) -> None:
    """Write a line to standard error without breaking a bar that is shown there."""
    tqdm.write(text, file=sys.stderr)
