"""Time cells in a child process, so that a crash or a hang does not stop the other cells.

A crash of a driver, a library or a compiler ends its process, and after some errors CUDA refuses every further call. So
the parent never opens a cell, and starts a new child after it loses one.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavepaint.bench.cells import Cell, Result
from wavepaint.data.sources import open_source

GRACE_S = 20.0
"""Seconds after the deadline at which a child is killed."""

NOT_RUN = "not run: "
"""Prefix of the problem of a cell that was skipped."""

_CUDA_IS_LOST = 86
"""Exit status of a child after an error that no later CUDA call survives."""

_EXIT_SECONDS = 10.0

Message = tuple[str, Any]
"""Kind and content of a child's message."""
Send = Callable[[Message], None]


class WorkerLostError(Exception):
    """The child died, hung or ran past the deadline; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits of a child.

    Attributes:
        step_s: Most seconds between two messages.
        deadline: Time (:func:`time.time`) after which nothing begins.
    """

    step_s: float
    deadline: float = float("inf")

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return time.time() >= self.deadline


class Worker:
    """One child process at a time, started when it is first needed.

    Args:
        hide_gpus: Whether the child sees no GPU.
    """

    def __init__(self, *, hide_gpus: bool = False) -> None:
        self._hide_gpus = hide_gpus
        self._process: Any = None
        self._connection: Any = None

    def run(self, limits: Limits, function: Callable[..., None], *arguments: Any) -> Iterator[Message]:
        """Call a module's function in the child, and yield its messages.

        The function takes the arguments, which must be picklable, and then a :data:`Send`.

        Raises:
            WorkerLostError: The child is lost. The next call starts another one.
        """
        if self._process is None or not self._process.is_alive():
            self._start()
        try:
            self._connection.send((function, arguments))
            while True:
                wait_s = min(limits.step_s, max(limits.deadline + GRACE_S - time.time(), 0.0))
                if not self._connection.poll(wait_s):
                    self.close()
                    raise WorkerLostError(f"it made no progress for {wait_s:.0f} s and was killed")
                message: Message = self._connection.recv()
                if message[0] == "end":
                    return
                yield message
        except (EOFError, OSError):
            self._process.join(_EXIT_SECONDS)
            code = self._process.exitcode
            self.close()
            raise WorkerLostError(_describe_exit(code)) from None

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._hide_gpus), daemon=True)
        self._process.start()
        other.close()

    def close(self) -> None:
        """Kill the child, if there is one."""
        if self._process is None:
            return
        self._connection.close()
        self._process.terminate()
        self._process.join(_EXIT_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_EXIT_SECONDS)  # a process that waits for the driver may survive even this
        self._process = self._connection = None


def _describe_exit(code: int | None) -> str:
    if code == _CUDA_IS_LOST:
        return "CUDA refused every further call"
    names = {-one.value: one.name for one in signal.Signals}
    return f"its process died ({names.get(code or 0, f'exit status {code}')})"


def _serve(connection: Any, hide_gpus: bool) -> None:
    """Call functions in the child until the parent closes the connection."""
    if hide_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print, and stdout is for the report
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which still writes the record
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        function(*arguments, connection.send)
        connection.send(("end", None))


def race_cells(cells: Sequence[Cell], options: Mapping[str, Any], send: Send) -> None:
    """Time cells in the child; send each step, each problem and the results.

    ``options`` are those of :func:`wavepaint.bench.race.race`, with a path instead of the photos.
    """
    from wavepaint.bench.race import race

    def on_problem(cell: Cell, problem: str) -> None:
        send(("problem", (cells.index(cell), problem)))
        if _is_cuda_lost():
            os._exit(_CUDA_IS_LOST)

    def on_step(cell: Cell) -> None:
        send(("step", cells.index(cell)))

    photos = open_source(options["photos"]) if options["photos"] is not None else None
    send(("results", race(cells, **{**options, "photos": photos}, on_step=on_step, on_problem=on_problem)))


def send_card(send: Send) -> None:
    """Measure the GPU in the child, and send the result."""
    from wavepaint.bench.card import measure_card

    send(("card", measure_card()))


def _is_cuda_lost() -> bool:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        torch.ones(1, device="cuda").item()
    except RuntimeError as error:
        return "out of memory" not in str(error)
    return False


def race_in_child(
    cells: Sequence[Cell],
    options: Mapping[str, Any],
    worker: Worker,
    limits: Limits,
    *,
    known: Sequence[Result] = (),
    keep: Callable[[list[Result]], None],
    on_progress: Callable[[str], None] = lambda text: None,
) -> bool:
    """Time cells in groups that differ only in their models; return False if the deadline came first.

    If every cell of an engine and precision so far failed to open, its other cells are not run.

    Args:
        cells: The most important ones first.
        options: See :func:`race_cells`.
        worker: The child process.
        limits: When to give up.
        known: Earlier results, which show which engines open.
        keep: Receives the results of each group.
        on_progress: Receives a status line.
    """
    tried: dict[tuple[str, str], list[Result]] = {}
    for result in known:
        tried.setdefault((result.engine, result.precision), []).append(result)
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.height, cell.batch, cell.engine, cell.precision), []).append(cell)
    for (side, batch, engine, precision), pending in groups.items():
        before = tried.setdefault((engine, precision), [])
        if before and not any(result.label for result in before):
            reason = f"{NOT_RUN}{engine} {precision} failed to open before"
            keep([_make_failed(cell, reason) for cell in pending])
            continue
        on_progress(f"{side}x{side}, batch {batch}: {engine} {precision}")
        results: list[Result] = []
        while pending and not limits.is_over:
            results += _race_group(pending, options, worker, limits)
        before += results
        keep(results)
        if pending:
            return False
    return True


def _race_group(pending: list[Cell], options: Mapping[str, Any], worker: Worker, limits: Limits) -> list[Result]:
    """Time a group; return the final results, and remove their cells from ``pending``."""
    current, results, problems = pending[0], list[Result](), dict[int, str]()
    try:
        for kind, content in worker.run(limits, race_cells, tuple(pending), options):
            if kind == "step":
                current = pending[content]
            elif kind == "problem":
                problems[content[0]] = content[1]
            else:
                results = content
    except WorkerLostError as error:
        if limits.is_over:  # the deadline ended the child, not the cell
            return []
        problem = "; ".join(filter(None, (problems.get(pending.index(current)), str(error))))
        pending.remove(current)
        return [_make_failed(current, problem)]
    pending.clear()
    return results


def _make_failed(cell: Cell, problem: str) -> Result:
    return Result(**cell.describe(), label="", problem=problem)
