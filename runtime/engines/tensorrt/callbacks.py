"""What TensorRT calls back while it builds: a logger that keeps the errors, a monitor that tells of progress."""

import functools
import threading
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

OnProgress = Callable[[str, float], None]
"""Told of the phase at work and of the share of the whole build that is done, 0 to 1."""


KEPT_ERRORS = 64
"""Errors a logger holds: those nobody asks for, as of a plan that was given up, must not pile up."""


def get_logger(trt: ModuleType) -> Any:
    """Return a library's logger, which prints nothing and keeps the errors.

    There is one for the life of the process, since the library keeps the first that it is given, for all builders and
    runtimes, as long as any of them lives.
    """
    return _make_logger(trt.ILogger)


@functools.cache
def _make_logger(base: Any) -> Any:
    class Logger(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.lock = threading.Lock()
            self.errors: deque[tuple[int, str]] = deque(maxlen=KEPT_ERRORS)

        def log(self, severity: Any, message: str) -> None:
            if severity in (base.Severity.ERROR, base.Severity.INTERNAL_ERROR):
                with self.lock:
                    self.errors.append((threading.get_ident(), message))

        def last_error(self) -> str:
            """Return the last error of this thread or of one of the library's own; forget those, so that none is
            told twice."""
            others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
            with self.lock:
                told = [message for thread, message in self.errors if thread not in others]
                kept = [(thread, message) for thread, message in self.errors if thread in others]
                self.errors.clear()
                self.errors.extend(kept)
            return told[-1] if told else ""

    return Logger()


def make_monitor(trt: ModuleType, on_progress: OnProgress) -> Any:
    """Return a progress monitor; what ``on_progress`` raises ends the build and is raised by ``raise_pending``."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.lock = threading.Lock()
            self.phases: dict[str, tuple[int, int]] = {}  # open phases, outermost first: steps done, of how many
            self.share = 0.0
            self.pending: BaseException | None = None

        def _tell(self, phase: str) -> bool:
            share, width = 0.0, 1.0
            for done, steps in self.phases.values():
                share += width * done / max(steps, 1)
                width /= max(steps, 1)
            self.share = max(self.share, min(share, 1.0))  # phases may come twice, a bar only goes forward
            try:
                on_progress(phase, self.share)
            except BaseException as error:  # also Ctrl-C: an exception must not cross the library
                self.pending = error
            return self.pending is None

        def phase_start(self, phase: str, parent: str | None, num_steps: int) -> None:
            with self.lock:
                self.phases[phase] = (0, num_steps)
                self._tell(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            with self.lock:
                self.phases[phase] = (step + 1, self.phases.get(phase, (0, step + 1))[1])
                return self._tell(phase)

        def phase_finish(self, phase: str) -> None:
            with self.lock:
                _, steps = self.phases.get(phase, (0, 1))
                self.phases[phase] = (steps, steps)
                self._tell(phase)
                del self.phases[phase]

        def raise_pending(self) -> None:
            if self.pending is not None:
                raise self.pending

    return Monitor()
