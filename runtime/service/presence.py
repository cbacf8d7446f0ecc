"""Whether a page is open: each page keeps one connection."""

import asyncio
from collections.abc import AsyncIterator, Callable

GRACE_S = 3.0
"""Seconds after the last page closed until the service counts as left. A page that is reloaded comes back earlier."""

_BEAT_S = 5.0


class Presence:
    """Counts open pages.

    Args:
        on_leave: Called in the event loop when the last page has been closed for :data:`GRACE_S`.
    """

    def __init__(self, on_leave: Callable[[], object] | None = None) -> None:
        self._on_leave, self._num_open = on_leave, 0
        self._timer: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all connections."""
        self._closing.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the events for one page, until it is closed or the service ends."""
        self._num_open += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            yield b"data: open\n\n"
            while not self._closing.is_set():
                try:
                    await asyncio.wait_for(self._closing.wait(), _BEAT_S)
                except TimeoutError:
                    yield b": still open\n\n"
        finally:
            self._num_open -= 1
            if not self._num_open and self._on_leave is not None and not self._closing.is_set():
                self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._on_leave)
