"""Running a heat, in a process of its own: cells are opened and checked, then timed in alternating rounds.

What is found is sent as it is found: that a task begins (so that a death can be laid to its door), what a cell has
come to after each round, what has failed, and that cells are closed, whose results nothing changes any more. Where
memory does not suffice for a cell beside the others of its heat, it is raced once more, alone.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.accuracy import compare, make_inputs, run_reference
from benchmarks.gpu.card import Meter, is_out_of_memory, is_poisoned
from benchmarks.gpu.cells import Cell, Effort, Heat, Place, Probe
from benchmarks.gpu.lanes import NotRunError, StreamContext, allow_tf32, describe_error
from benchmarks.gpu.networks import build, measure_work
from benchmarks.gpu.opening import forget_compiled, open_lane
from benchmarks.gpu.probes import run_probe
from benchmarks.gpu.timing import Entry, time_round

Send = Callable[[dict[str, Any]], None]

WARMUP_RUNS = 3
"""One makes a size ready, one captures a CUDA graph, one replays it."""

MAX_ELEMENTS = 2**31 - 1
"""Most elements of a tensor that engines and PyTorch's kernels count with 32 bits."""

ALONE = "timed alone: memory did not suffice beside the others"

_ALIVE_S = 5.0
"""Seconds between two words of what takes long."""

_inputs = lru_cache(maxsize=2)(make_inputs)
"""The batch of a heat, with float and with byte edges; nobody writes into it."""


class PoisonedError(Exception):
    """The process's CUDA context is unusable; another process must go on."""


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
        self._told_alive = 0.0

    def run(self, heat: Heat, effort: Effort) -> None:
        """Run a heat.

        Raises:
            PoisonedError: After an error that no later call in this process survives; it was sent.
        """
        for task in heat.tasks:
            if isinstance(task, Probe):
                self._attempt(task, partial(self._run_probe, task))
        crowded = self._race([task for task in heat.tasks if isinstance(task, Cell)], effort)
        for cell in crowded:
            self._race([cell], effort, note=ALONE)
        if any("torch-compile" in task.id for task in heat.tasks):
            forget_compiled()

    def _run_probe(self, probe: Probe) -> None:
        found, lane = run_probe(probe, self._place, self._tell_alive)
        self._send({"id": probe.id, "result": {"status": "done", **found}})
        if lane is not None:
            self._send({"closes": True})
            self._close(probe, lane)

    def _race(self, cells: Sequence[Cell], effort: Effort, note: str = "") -> list[Cell]:
        """Open cells and time them in rounds; return those whose memory did not suffice beside the others."""
        entries: list[Entry] = []
        crowded: list[Cell] | None = [] if len(cells) > 1 else None
        try:
            for cell in cells:
                if time.time() >= effort.deadline:
                    break
                self._attempt(cell, partial(self._open, cell, effort, note, entries), crowded)
            for _ in range(effort.rounds):
                for entry in list(entries):
                    if time.time() >= effort.deadline:
                        break
                    if not self._attempt(entry.cell, partial(self._time, entry, effort), crowded):
                        entries.remove(entry)
                        self._close(entry.cell, entry.lane)
        finally:
            if entries:
                self._send({"closes": True})
            are_closed = [self._close(entry.cell, entry.lane) for entry in entries]
        if not all(are_closed) and is_poisoned():
            raise PoisonedError("closing cells failed")
        return crowded or []

    def _attempt(self, task: Cell | Probe, act: Callable[[], object], crowded: list[Cell] | None = None) -> bool:
        """Send that a task begins, do it, and send why it failed; return whether it was done.

        A cell goes to ``crowded``, if there is such a list, where the memory did not suffice.
        """
        self._send({"id": task.id, "begins": True})
        try:
            act()
        except NotRunError as error:
            self._send({"id": task.id, "result": {"status": "not run", "problem": str(error)}})
        except Exception as error:  # engines raise what they like, and the other cells go on
            if crowded is None or not isinstance(task, Cell) or not is_out_of_memory(error):
                self._fail(task, error)
            else:
                crowded.append(task)
        else:
            return True
        return False

    def _fail(self, task: Cell | Probe, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno} in {place.name}"
        self._send({"id": task.id, "result": {"status": "failed", "problem": describe_error(error), "where": where}})
        if is_poisoned():
            raise PoisonedError(describe_error(error)) from error

    def _close(self, task: Cell | Probe, lane: StreamContext) -> bool:
        """Close what a task had open; a failure is noted beside its result. Return whether there was none."""
        note = lane.try_to_close()
        if note:
            self._send({"id": task.id, "note": note})
        return not note

    def _tell_alive(self) -> None:
        """Send a word, though not each time: builds call this in every step."""
        if time.monotonic() - self._told_alive > _ALIVE_S:
            self._told_alive = time.monotonic()
            self._send({"alive": True})

    def _open(self, cell: Cell, effort: Effort, note: str, entries: list[Entry]) -> None:
        """Add a cell to the race: open it, run it as often as it takes to be ready, and compare what it gives."""
        if cell.engine != "failure":
            self._count_work(cell, effort)
        image, mask = _inputs(cell.batch, cell.side, cell.io_dtype)
        meter = Meter()
        lane = open_lane(cell, self._place, self._tell_alive)
        try:
            for number in range(WARMUP_RUNS):
                if number == WARMUP_RUNS - 1:
                    meter.begin_run()
                output = lane.run(image, mask)
            device_mb = meter.taken_mb()
            least_db = 90.0 if cell.precision == "float32" and cell.io_dtype == "float32" else 50.0
            accuracy = compare(output, self._expect(cell.model, image, mask), image, mask, least_db)
        except BaseException:
            lane.try_to_close()
            raise
        lane.note = "; ".join(filter(None, (note, lane.note)))
        entries.append(Entry(cell, lane, accuracy, device_mb))

    def _expect(self, model: str, image: Any, mask: Any) -> Any:
        allow_tf32("float32")
        if model not in self._references:
            self._references[model] = build(model).to(self._place.device)
        return run_reference(self._references[model], self._place.device, image, mask)

    def _count_work(self, cell: Cell, effort: Effort) -> None:
        """Send once for a model and a side what their arithmetic costs.

        Raises:
            NotRunError: A tensor of the batch has more elements than can be counted.
        """
        work, key = measure_work(cell.model, cell.side), f"{cell.model}/{cell.side}"
        if cell.batch * work.largest > MAX_ELEMENTS:
            raise NotRunError(
                f"not run: a tensor between its layers has {cell.batch * work.largest:.1e} elements, more than 2^31"
            )
        if key not in self._counted and key not in effort.known_work:
            told = {"key": key, "gmac": work.gmac, "layers": [list(layer) for layer in work.layers]}
            self._send({"id": cell.id, "work": told})
        self._counted.add(key)

    def _time(self, entry: Entry, effort: Effort) -> None:
        """Time a cell in one round and send what it has come to."""
        time_round(entry, *_inputs(entry.cell.batch, entry.cell.side, entry.cell.io_dtype), effort)
        self._send({"id": entry.cell.id, "result": entry.result()})


def prepare_process(device: str) -> None:
    """Set what PyTorch shall do in a process that measures: choose the fastest convolutions, in exact float32."""
    torch.backends.cudnn.benchmark = True
    allow_tf32("float32")
    if device == "cpu":
        torch.set_num_threads(1)
