"""Callbacks for TensorRT: a logger that stores errors, and a monitor that reports the progress of a build."""

import functools
import threading
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

OnProgress = Callable[[str, float], None]
"""Called with the current phase and the finished share of the whole build, 0 to 1."""

MAX_ERRORS = 64
"""Number of errors that a logger stores. Unread errors, such as those of an abandoned plan, must not pile up."""


def get_logger(trt: ModuleType) -> Any:
    """Return the library's logger, which prints nothing and stores errors.

    There is one for the whole process: the library uses the first logger it is given for all builders and runtimes, as
    long as any of them lives.
    """
    return _make_logger(trt.ILogger)


@functools.cache
def _make_logger(base: Any) -> Any:
    class Logger(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.lock = threading.Lock()
            self.errors: deque[tuple[int, str]] = deque(maxlen=MAX_ERRORS)

        def log(self, severity: Any, message: str) -> None:
            if severity in (base.Severity.ERROR, base.Severity.INTERNAL_ERROR):
                with self.lock:
                    self.errors.append((threading.get_ident(), message))

        def pop_last_error(self) -> str:
            """Return the last error of this thread or of one of the library's own threads, and delete their errors."""
            others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
            with self.lock:
                found = [message for thread, message in self.errors if thread not in others]
                remaining = [(thread, message) for thread, message in self.errors if thread in others]
                self.errors.clear()
                self.errors.extend(remaining)
            return found[-1] if found else ""

    return Logger()


def make_monitor(trt: ModuleType, on_progress: OnProgress) -> Any:
    """Return a progress monitor. An exception in ``on_progress`` stops the build; ``raise_pending`` re-raises it."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.lock = threading.Lock()
            self.phases: dict[str, tuple[int, int]] = {}  # open phases, outermost first: finished and all steps
            self.share = 0.0
            self.pending: BaseException | None = None

        def _report(self, phase: str) -> bool:
            share, width = 0.0, 1.0
            for done, steps in self.phases.values():
                share += width * done / max(steps, 1)
                width /= max(steps, 1)
            self.share = max(self.share, min(share, 1.0))  # phases may repeat, and progress must not go back
            try:
                on_progress(phase, self.share)
            except BaseException as error:  # also Ctrl-C: an exception must not cross the library
                self.pending = error
            return self.pending is None

        def phase_start(self, phase: str, parent: str | None, num_steps: int) -> None:
            with self.lock:
                self.phases[phase] = (0, num_steps)
                self._report(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            with self.lock:
                self.phases[phase] = (step + 1, self.phases.get(phase, (0, step + 1))[1])
                return self._report(phase)

        def phase_finish(self, phase: str) -> None:
            with self.lock:
                _, steps = self.phases.get(phase, (0, 1))
                self.phases[phase] = (steps, steps)
                self._report(phase)
                del self.phases[phase]

        def raise_pending(self) -> None:
            if self.pending is not None:
                raise self.pending

    return Monitor()
