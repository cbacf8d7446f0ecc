"""Check and time cells in one process.

Cells of one size and batch are timed in alternating rounds (A B A B ...), so that a drift of the machine's speed
affects all of them alike. If a cell fails, its result gives the reason, and the others continue.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wavepaint.bench.cells import Cell, Result, Tensor, TorchConfig
from wavepaint.bench.classical import Classical, Pixels
from wavepaint.bench.entrants import Subject
from wavepaint.bench.quality import Quality, load_pairs, measure_quality
from wavepaint.bench.runners import Runner, open_runner, run_exactly
from wavepaint.contract import INPAINTING
from wavepaint.data.sources import PhotoSource
from wavepaint.data.validation_set import Pair
from wavepaint.errors import WavePaintError
from wavepaint.machine import peak_memory_mb, reset_peak_memory
from wavepaint.metrics.image_quality import psnr
from wavepaint.runtime.engines.gpus import count_used_memory_mb
from wavepaint.runtime.engines.logits_comparison import LogitsBudget
from wavepaint.runtime.engines.session import first_line

WARMUP_CALLS = 3
"""The first call prepares a size, the second captures a CUDA graph, the third replays it."""

MIN_PSNR_DB = 45.0
"""Minimum PSNR inside the hole against the float32 reference. Bundles reach 50 dB when they are verified.
This limit catches engines that compute something else on this machine."""

LOGITS_LIMIT = LogitsBudget(max_relative_error=0.05)
"""The same for logits: bundles reach 0.02 when they are verified."""

NOISY_VARIATION = 0.1
"""Variation of the rounds above which something else is using the machine."""

CHANGES_KNOWN_PIXELS = "it changes known pixels"
NOT_FINITE = "its output contains NaN or infinite values"

_BURST_MS = 20.0
"""Duration of calls enqueued back to back, long enough that launching the first one does not count."""
_MAX_BURST_CALLS = 2000


class _Entry:
    """A cell in the race."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.inputs = cell.make_inputs()
        self.label, self.problem = "", ""
        self.psnr_db: float | None = None
        self.quality: Quality | None = None
        self.peak_memory_mb: float | None = None
        self.device_memory_mb: float | None = None
        self.runner: Runner | None = None
        self.rounds: list[list[float]] = []
        self.compute_ms: list[float] = []

    def fail(self, error: Exception) -> None:
        """Drop the cell and its times, and note the reason."""
        self.runner = None
        known = isinstance(error, WavePaintError | RuntimeError)
        self.problem = first_line(error) if known else f"{type(error).__name__}: {first_line(error)}"
        if isinstance(error, MemoryError):
            self.problem = "out of memory"
        self.rounds.clear()
        self.compute_ms.clear()

    def make_result(self) -> Result:
        times = [latency for latencies in self.rounds for latency in latencies]
        measured: dict[str, Any] = {}
        if times:
            p50, p90, p99 = (float(value) for value in np.percentile(times, (50, 90, 99)))
            medians = [statistics.median(latencies) for latencies in self.rounds]
            measured = {
                "num_calls": len(times),
                "p50_ms": p50,
                "p90_ms": p90,
                "p99_ms": p99,
                "images_per_s": self.cell.batch / p50 * 1e3,
                "variation": statistics.pstdev(medians) / statistics.fmean(medians),
                "compute_ms": statistics.median(self.compute_ms) if self.compute_ms else None,
            }
        return Result(
            **self.cell.describe(),
            label=self.label,
            problem=self.problem,
            psnr_db=self.psnr_db,
            hole_psnr_db=self.quality.psnr_db if self.quality else None,
            hole_ssim=self.quality.ssim if self.quality else None,
            peak_memory_mb=self.peak_memory_mb,
            device_memory_mb=self.device_memory_mb,
            **measured,
        )


def race(
    cells: Sequence[Cell],
    *,
    threads: int | None = None,
    rounds: int = 5,
    seconds: float = 1.0,
    photos: PhotoSource | None = None,
    plans: Path | None = None,
    in_pytorch: bool = False,
    on_progress: Callable[[str], None] = lambda text: None,
    on_step: Callable[[Cell], None] = lambda cell: None,
    on_problem: Callable[[Cell, str], None] = lambda cell, problem: None,
) -> list[Result]:
    """Check and time cells; return their results in order of size and batch.

    Args:
        cells: See :func:`wavepaint.bench.cells.list_cells`.
        threads: CPU threads; None leaves the choice to each engine.
        rounds: Alternating rounds.
        seconds: Minimum time for each cell in each round; at least one call is made.
        photos: Photos to measure the quality of trained weights on, if any.
        plans: See :func:`wavepaint.bench.runners.open_runner`.
        in_pytorch: Check against PyTorch float32 if the weights are known, instead of the model's first float32 cell.
        on_progress: Receives a status line.
        on_step: Called before a cell is opened, and before each of its rounds.
        on_problem: Called when a cell fails.
    """

    def attempt(entry: _Entry, act: Callable[[], None]) -> None:
        on_step(entry.cell)
        try:
            act()
        except Exception as error:  # engines raise all kinds of exceptions
            entry.fail(error)
            on_problem(entry.cell, entry.problem)

    results: list[Result] = []
    # Cells of one size and batch are open together; between groups their memory is freed.
    for (side, batch), group in _group(cells):
        with ExitStack() as stack:
            entries = [_Entry(cell) for cell in group]
            references: dict[str, Tensor] = {}
            pairs = load_pairs(photos, side) if photos is not None else []
            for entry in entries:
                on_progress(f"{side}x{side}, batch {batch}: checking {entry.cell.subject.name} in {entry.cell.engine}")
                open_entry = partial(_open, entry, stack, threads, plans)
                attempt(entry, partial(_prepare, entry, open_entry, references, pairs, in_pytorch=in_pytorch))
            for number in range(rounds):
                on_progress(f"{side}x{side}, batch {batch}: round {number + 1} of {rounds}")
                for entry in entries:
                    if entry.runner is not None:
                        attempt(entry, partial(_time, entry, seconds))
            results += [entry.make_result() for entry in entries]
    return results


def _group(cells: Sequence[Cell]) -> Iterator[tuple[tuple[int, int], list[Cell]]]:
    for key in dict.fromkeys((cell.height, cell.batch) for cell in cells):
        yield key, [cell for cell in cells if (cell.height, cell.batch) == key]


def _prepare(
    entry: _Entry,
    open_entry: Callable[[], Tensor],
    references: dict[str, Tensor],
    pairs: Sequence[Pair],
    *,
    in_pytorch: bool,
) -> None:
    """Open, check and score a cell."""
    _check(entry, open_entry(), references, in_pytorch=in_pytorch)
    _score(entry, pairs)


def _open(entry: _Entry, stack: ExitStack, threads: int | None, plans: Path | None) -> Tensor:
    """Open a cell, run it until it is warm, and return its output."""
    before, device_before = reset_peak_memory(), count_used_memory_mb()
    entry.runner = open_runner(entry.cell, stack, threads=threads, plans=plans)
    entry.label = entry.runner.label
    for _ in range(WARMUP_CALLS):
        output = entry.runner.run(*entry.inputs)
    entry.peak_memory_mb = peak_memory_mb() - before
    device_now = count_used_memory_mb()
    if device_now is not None and device_before is not None:
        entry.device_memory_mb = float(device_now - device_before)
    return output


def _check(entry: _Entry, output: Tensor, references: dict[str, Tensor], *, in_pytorch: bool) -> None:
    """Note an output's PSNR against the reference.

    Raises:
        WavePaintError: The output is wrong.
    """
    cell, subject = entry.cell, entry.cell.subject
    if isinstance(cell.execution, TorchConfig) and isinstance(subject, Subject) and not subject.has_network:
        return  # its weights are not those of the bundle
    if not np.isfinite(output).all():
        raise WavePaintError(NOT_FINITE)
    known: Any = np.zeros(output.shape, bool)
    if cell.task is INPAINTING:
        image, mask = entry.inputs
        known = np.broadcast_to(mask == 0, image.shape)
        if not np.array_equal(output[known], image[known]):
            raise WavePaintError(CHANGES_KNOWN_PIXELS)
    if isinstance(subject, Classical):
        return
    if in_pytorch and subject.has_network and subject.name not in references:
        references[subject.name] = run_exactly(subject, entry.inputs)
    if cell.precision == "float32" and references.setdefault(subject.name, output) is output:
        return
    if subject.name not in references:
        return
    if cell.task.has_classes:
        compared = LOGITS_LIMIT.compare("", entry.inputs, output, references[subject.name])
        if not compared.passed:
            raise WavePaintError(f"it differs from float32: {compared.max_relative_error:.1%} of the logits' range")
    else:
        entry.psnr_db = min(psnr(output[~known], references[subject.name][~known]), 200.0)
        if entry.psnr_db < MIN_PSNR_DB:
            raise WavePaintError(f"it differs from float32: {entry.psnr_db:.1f} dB inside the hole")


def _score(entry: _Entry, pairs: Sequence[Pair]) -> None:
    """Measure the quality of a cell's fills, unless its weights are random."""
    runner = entry.runner
    if runner is None or not pairs or not entry.cell.has_quality:
        return

    def fill(image: Pixels, mask: Pixels) -> Pixels:
        if isinstance(entry.cell.subject, Classical):
            return np.asarray(runner.run(image[None], mask[None, ..., None])[0], np.uint8)
        tensor = (image[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)
        filled = runner.run(np.ascontiguousarray(tensor), mask[None, None].astype(np.float32))[0]
        pixels: Pixels = np.round(np.clip(filled.transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8)
        return pixels

    entry.quality = measure_quality(fill, pairs)


def _time(entry: _Entry, seconds: float) -> None:
    """Time one round. A failed round leaves no times."""
    runner = entry.runner
    assert runner is not None
    latencies: list[float] = []
    finish = time.perf_counter() + seconds
    if not entry.rounds or entry.rounds[-1][-1] < seconds * 1e3:
        runner.run(*entry.inputs)  # refills the caches, which matters only for short calls
    while not latencies or time.perf_counter() < finish:
        started = time.perf_counter()
        runner.run(*entry.inputs)
        latencies.append((time.perf_counter() - started) * 1e3)
    num_calls = min(max(math.ceil(_BURST_MS / statistics.median(latencies)), 2), _MAX_BURST_CALLS)
    finish = time.perf_counter() + seconds / 2
    while (burst_ms := runner.time_compute(entry.inputs, num_calls)) is not None:
        entry.compute_ms.append(burst_ms)
        if time.perf_counter() >= finish:
            break
    entry.rounds.append(latencies)
