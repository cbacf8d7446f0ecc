"""Running a heat, in a process of its own: cells are opened and checked, then timed in alternating rounds.

What is found is sent as it is found: that a task begins (so that a death can be laid to its door), what a cell has
come to after each round, and what has failed.
"""

import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.accuracy import Accuracy, compare, make_inputs, run_reference
from benchmarks.gpu.cells import Cell, Effort, Heat, Place, Probe
from benchmarks.gpu.lanes import Lane, NotRunError, allow_tf32, free_device_mb, is_poisoned, open_lane
from benchmarks.gpu.networks import build, measure_work
from benchmarks.gpu.probes import run_probe
from wavepaint.errors import WavePaintError
from wavepaint.runtime.session import first_line

Send = Callable[[dict[str, Any]], None]

WARMUP_RUNS = 3
"""One makes a size ready, one captures a CUDA graph, one replays it."""


_inputs = lru_cache(maxsize=2)(make_inputs)
"""The batch of a heat, with float and with byte edges; nobody writes into it."""


class PoisonedError(Exception):
    """The process's CUDA context is unusable; another process must go on."""


@dataclass
class _Entry:
    """A cell that is being raced."""

    cell: Cell
    lane: Lane
    accuracy: Accuracy
    device_mb: float
    with_copies: list[list[float]] = field(default_factory=list)
    alone: list[list[float]] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        return {
            "status": "done",
            "label": self.lane.label,
            "device_mb": round(self.device_mb, 1),
            "plan_mb": self.lane.plan_mb,
            "build_s": self.lane.build_s,
            "accuracy": self.accuracy.as_dict(),
            "with_copies": _summarise(self.with_copies, self.cell.batch),
            "compute": _summarise(self.alone, self.cell.batch),
        }


def _summarise(rounds: list[list[float]], batch: int) -> dict[str, Any] | None:
    """Return percentiles of all calls in ms, images a second at the median, and how far the rounds lie apart."""
    times = [latency for latencies in rounds for latency in latencies]
    if not times:
        return None
    p50, p90, p99 = (float(value) for value in np.percentile(times, (50, 90, 99)))
    medians = [statistics.median(latencies) for latencies in rounds if latencies]
    return {
        "num_calls": len(times),
        "num_rounds": len(medians),
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "images_per_s": batch / p50 * 1e3,
        "variation": statistics.pstdev(medians) / statistics.fmean(medians),
    }


class Runner:
    """Runs heats one after another; keeps the networks that outputs are compared with.

    Args:
        place: Where.
        send: Told of everything.
    """

    def __init__(self, place: Place, send: Send) -> None:
        self._place, self._send = place, send
        self._references: dict[str, nn.Module] = {}
        self._counted: set[str] = set()

    def run(self, heat: Heat, effort: Effort) -> None:
        """Run a heat.

        Raises:
            PoisonedError: After an error that no later call in this process survives; it was sent.
        """
        cells = []
        for task in heat.tasks:
            if isinstance(task, Cell):
                cells.append(task)
                continue
            with self._told(task):
                self._send({"id": task.id, "result": {"status": "done", **run_probe(task, self._place)}})
        entries = []
        try:
            for cell in cells:
                if time.time() >= effort.deadline:
                    break
                with self._told(cell):
                    entries.append(self._open(cell))
                    self._count_work(cell, effort)
            for _ in range(effort.rounds):
                for entry in list(entries):
                    if time.time() < effort.deadline and not self._time(entry, effort):
                        entries.remove(entry)
        finally:
            for entry in entries:
                entry.lane.close()

    @contextmanager
    def _told(self, task: Cell | Probe) -> Iterator[None]:
        """Send that a task begins, and why it fails."""
        self._send({"id": task.id, "begins": True})
        try:
            yield
        except NotRunError as error:
            self._send({"id": task.id, "result": {"status": "not run", "problem": str(error)}})
        except Exception as error:  # engines raise what they like, and the other cells go on
            self._fail(task, error)

    def _fail(self, task: Cell | Probe, error: Exception) -> None:
        problem = str(error) if isinstance(error, WavePaintError) else f"{type(error).__name__}: {first_line(error)}"
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno} in {place.name}"
        self._send({"id": task.id, "result": {"status": "failed", "problem": problem, "where": where}})
        if is_poisoned():
            raise PoisonedError(problem) from error

    def _open(self, cell: Cell) -> _Entry:
        """Open a cell, run it as often as it takes to be ready, and compare what it gives."""
        image, mask = _inputs(cell.batch, cell.side, cell.edges)
        free_before = free_device_mb()
        lane = open_lane(cell, self._place)
        try:
            for _ in range(WARMUP_RUNS):
                output = lane.run(image, mask)
            device_mb = max(free_before - free_device_mb(), 0.0)
            least_db = 90.0 if cell.precision == "float32" and cell.edges == "float32" else 50.0
            accuracy = compare(output, self._expect(cell.model, image, mask), image, mask, least_db)
        except BaseException:
            lane.close()
            raise
        return _Entry(cell, lane, accuracy, device_mb)

    def _expect(self, model: str, image: Any, mask: Any) -> Any:
        allow_tf32(False)
        if model not in self._references:
            self._references[model] = build(model).to(self._place.device)
        return run_reference(self._references[model], self._place.device, image, mask)

    def _count_work(self, cell: Cell, effort: Effort) -> None:
        """Send once for a model and a side what their arithmetic costs."""
        key = f"{cell.model}/{cell.side}"
        if key not in self._counted and key not in effort.known_work:
            work = measure_work(cell.model, cell.side)
            self._send({"work": key, "gmac": work.gmac, "layers": [list(layer) for layer in work.layers]})
        self._counted.add(key)

    def _time(self, entry: _Entry, effort: Effort) -> bool:
        """Time a cell in one round, send what it has come to; return whether it goes on."""
        self._send({"id": entry.cell.id, "begins": True})
        image, mask = _inputs(entry.cell.batch, entry.cell.side, entry.cell.edges)
        half = effort.seconds / 2
        try:
            entry.lane.run(image, mask)  # the others had the caches
            with_copies: list[float] = []
            finish = time.perf_counter() + half
            while len(with_copies) < effort.min_calls or time.perf_counter() < finish:
                started = time.perf_counter()
                entry.lane.run(image, mask)
                with_copies.append((time.perf_counter() - started) * 1e3)
            # As many calls as fit: a call without copies takes no longer than one with them.
            calls = min(max(effort.min_calls, int(half / (statistics.median(with_copies) / 1e3))), 2000)
            alone = entry.lane.time_compute(image, mask, calls)
        except Exception as error:  # as above
            entry.lane.close()
            self._fail(entry.cell, error)
            return False
        entry.with_copies.append(with_copies)
        entry.alone.append(alone)
        self._send({"id": entry.cell.id, "result": entry.result()})
        return True


def prepare_process(device: str) -> None:
    """Set what PyTorch shall do in a process that measures: choose the fastest convolutions, in exact float32."""
    torch.backends.cudnn.benchmark = True
    allow_tf32(False)
    if device == "cpu":
        torch.set_num_threads(1)
