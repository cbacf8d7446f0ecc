"""What a cell of a race comes to: its times in rounds, in the three ways that it is timed."""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.accuracy import Accuracy
from benchmarks.gpu.cells import Cell, Effort
from benchmarks.gpu.lanes import StreamContext

BURST_MS = 20.0
"""How long runs that are enqueued back to back shall take together, so that how the first is launched does not count.
Runs that take as long by themselves are timed one by one."""

_MOST_RUNS = 2000


@dataclass
class Entry:
    """A cell that is being raced.

    Attributes:
        cell: The cell.
        lane: Open.
        accuracy: What its output was compared to.
        device_mb: Device memory that it takes, in MiB.
        with_copies: Milliseconds of runs with copies, by round.
        alone: Of single runs without.
        bursts: Of a run among many that are enqueued back to back, without copies.
    """

    cell: Cell
    lane: StreamContext
    accuracy: Accuracy
    device_mb: float
    with_copies: list[list[float]] = field(default_factory=list)
    alone: list[list[float]] = field(default_factory=list)
    bursts: list[list[float]] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """Return plain values for the record."""
        compute, bursts = (summarise(rounds, self.cell.batch) for rounds in (self.alone, self.bursts))
        if compute and bursts:  # a single run has its launch in it: its time is a latency, and no throughput
            compute |= {"images_per_s": bursts["images_per_s"], "bursts": bursts}
        return {
            "status": "done",
            "label": self.lane.label,
            "note": self.lane.note,
            "device_mb": round(self.device_mb, 1),
            "plan_mb": self.lane.plan_mb,
            "build_s": self.lane.build_s,
            "first_run_s": self.lane.first_run_s,
            "accuracy": self.accuracy.as_dict(),
            "with_copies": summarise(self.with_copies, self.cell.batch),
            "compute": compute,
        }


def summarise(rounds: list[list[float]], batch: int) -> dict[str, Any] | None:
    """Return percentiles of all times in ms, images a second at the median, and how far the rounds lie apart."""
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


def time_round(entry: Entry, image: NDArray[Any], mask: NDArray[Any], effort: Effort) -> None:
    """Time an open cell in one round, and keep its times.

    Raises:
        Exception: Whatever the engine raises; then nothing of the round is kept.
    """
    lane = entry.lane
    lane.run(image, mask)  # the others had the caches
    with_copies: list[float] = []
    finish = time.perf_counter() + effort.seconds / 2
    while len(with_copies) < effort.min_calls or time.perf_counter() < finish:
        started = time.perf_counter()
        lane.run(image, mask)
        with_copies.append((time.perf_counter() - started) * 1e3)
    # As many calls as fit: a call without copies takes no longer than one with them.
    part_ms = effort.seconds / 4 * 1e3
    num_calls = int(part_ms / statistics.median(with_copies))
    alone = lane.time_compute(image, mask, min(max(effort.min_calls, num_calls), _MOST_RUNS))
    bursts = alone
    run_ms = statistics.median(alone) if alone else math.inf
    if run_ms < BURST_MS:
        num_runs = min(max(math.ceil(min(BURST_MS, part_ms) / run_ms), 2), _MOST_RUNS)
        num_bursts = max(int(part_ms / (run_ms * num_runs)), 1)
        found = [lane.time_burst(image, mask, num_runs) for _ in range(num_bursts)]
        bursts = [burst for burst in found if burst is not None]
    entry.with_copies.append(with_copies)
    entry.alone.append(alone)
    entry.bursts.append(bursts)
