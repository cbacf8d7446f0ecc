"""Heats in another process, which may die or hang without an end to the proof.

A crash of a driver, a library or the compiler, and an error after which CUDA refuses every call, take their process
with them. So the proof itself never touches the GPU: it hands heats to a worker, and starts another one where one is
gone. Starting costs some seconds, so that a worker runs many heats.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.gpu.cells import Effort, Heat, Place

Message = dict[str, Any]


class WorkerLostError(Exception):
    """A worker died or had to be ended while it ran a heat; its text says how."""


def _serve(connection: Connection, place: Place) -> None:
    """Run heats until the other end is closed; what runs in a worker."""
    # What libraries print must not look like the proof's own output.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reports
    from benchmarks.gpu.heats import PoisonedError, Runner, prepare_process

    prepare_process(place.device)
    runner = Runner(place, connection.send)
    while True:
        try:
            heat, effort = connection.recv()
        except EOFError:
            return
        try:
            runner.run(heat, effort)
        except PoisonedError as error:
            connection.send({"gone": f"CUDA refuses every call after: {error}"})
            return
        connection.send({"ends": True})


class Worker:
    """One process, started when the first heat comes.

    Args:
        place: Where it runs.
        serve: What runs in it; a test may replace it.
    """

    def __init__(self, place: Place, serve: Callable[[Connection, Place], None] = _serve) -> None:
        self._place, self._serve = place, serve
        self._process: Any = None
        self._connection: Any = None

    def run(self, heat: Heat, effort: Effort, patience_s: float, last_moment: float) -> Iterator[Message]:
        """Yield what a heat sends.

        Args:
            heat: What to run.
            effort: How long.
            patience_s: Seconds without a message after which the process is ended.
            last_moment: When it is ended in whatever it does, in seconds of :func:`time.time`.

        Raises:
            WorkerLostError: The process died, said nothing for so long, or the last moment came. The next heat starts
                another one.
        """
        if self._process is not None and not self._process.is_alive():  # between heats, which is no fault of this one
            self.close(patient=False)
        if self._process is None:
            self._start()
        try:
            self._connection.send((heat, effort))
            while True:
                wait_s = min(patience_s, max(last_moment - time.time(), 0.0))
                if not self._connection.poll(wait_s):
                    self.close(patient=False)
                    raise WorkerLostError(f"it said nothing for {wait_s:.0f} s and was ended")
                message: Message = self._connection.recv()
                if "ends" in message:
                    return
                if "gone" in message:
                    self.close(patient=False)
                    raise WorkerLostError(message["gone"])
                if "alive" not in message:
                    yield message
        except (EOFError, OSError):  # the latter also from the middle of a message, and from sending
            self._process.join(10)
            code = self._process.exitcode
            self.close(patient=False)
            raise WorkerLostError(f"its process died ({_describe_exit(code)})") from None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._connection, other = context.Pipe()
        self._process = context.Process(target=self._serve, args=(other, self._place), daemon=True)
        self._process.start()
        other.close()

    def close(self, *, patient: bool = True) -> None:
        """End the process; one that hangs is killed."""
        if self._process is None:
            return
        self._connection.close()
        if not patient:
            self._process.terminate()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(10)  # one that waits for the driver does not even die; the report must come all the same
        self._process = self._connection = None


def _describe_exit(code: int | None) -> str:
    if code is None:
        return "and is still ending"
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
