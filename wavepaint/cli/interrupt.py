"""Ctrl-C that stops a command at a safe place."""

import signal
from types import FrameType
from typing import Self


class Interrupt:
    """While it is entered, the first Ctrl-C after :attr:`armed` was set raises KeyboardInterrupt; others do nothing."""

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
