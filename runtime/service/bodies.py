"""Read the bodies of requests into memory, within bounds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

_MOST_BODIES = 16
"""Bodies of the largest size that memory may hold at once."""


class BodyStore:
    """The memory for the bodies of requests that are being answered.

    Args:
        max_body_bytes: Largest body of a request.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._room = _MOST_BODIES * max_body_bytes

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes | None]:
        """Read a body to its end, and count its memory until the context ends.

        Yields:
            The body; None if there is no memory for it now. Even then it was read to its end, because a connection that
            is closed before loses the answer.

        Raises:
            RequestError: The body is too large or too slow; see :mod:`wavepaint.runtime.service.gate`.
            ClientDisconnect: The client is gone.
        """
        chunks: list[bytes] = []
        num_held, fits = 0, True
        try:
            async for chunk in request.stream():
                fits = fits and len(chunk) <= self._room
                if fits:
                    chunks.append(chunk)
                    num_held += len(chunk)
                    self._room -= len(chunk)
            yield _take_all(chunks) if fits else None  # in no variable here: whoever gets it decides how long it lives
        finally:
            self._room += num_held


def _take_all(chunks: list[bytes]) -> bytes:
    """Return the chunks in one piece, and leave none behind."""
    body = b"".join(chunks)
    chunks.clear()
    return body
