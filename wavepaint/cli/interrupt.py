"""Ctrl-C handling that stops a command only at a safe point."""

import signal
from types import FrameType
from typing import Self

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells."""


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
