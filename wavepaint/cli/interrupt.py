"""Ctrl-C: how every command ends, and how one stops only at a safe point."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

import click

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells."""

INTERRUPTED_LINE = "interrupted. Every file that was written is complete"
"""What is true whenever Ctrl-C comes; without a full stop, so that a command can add how to continue."""


@contextmanager
def exit_after_interrupt() -> Iterator[None]:
    """Turn Ctrl-C into one line and :data:`INTERRUPTED`; click prints "Aborted!" and exits with status 1."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"{INTERRUPTED_LINE}.", err=True)
        sys.exit(INTERRUPTED)


class Interrupt:
    """A context in which Ctrl-C raises KeyboardInterrupt only while :attr:`armed` is set, and clears it."""

    armed = False

    def __enter__(self) -> Self:
        self._former = signal.getsignal(signal.SIGINT)
        if self._former is signal.default_int_handler:  # a background job of a shell ignores Ctrl-C
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._former)
