"""The race: cells are checked before they are timed, and timed in alternating rounds.

Rounds alternate (A B A B ...) so that a machine whose speed drifts is unfair to nobody. A cell that fails says why, and
the others go on.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from wavepaint.bench.cells import Cell, Result, Tensor
from wavepaint.bench.classical import Classical, Pixels
from wavepaint.bench.entrants import Subject
from wavepaint.bench.quality import Quality, load_pairs, measure_quality
from wavepaint.data.sources import PhotoSource
from wavepaint.data.validation_set import Pair
from wavepaint.errors import WavePaintError
from wavepaint.machine import peak_memory_mb, reset_peak_memory
from wavepaint.metrics.image_quality import psnr
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.gpus import count_used_memory_mb
from wavepaint.runtime.engines.registry import open_execution
from wavepaint.runtime.engines.session import first_line

Run = Callable[[Tensor, Tensor], Any]

WARMUP_CALLS = 2

MIN_PSNR_DB = 45.0
"""Least PSNR inside the hole against the model's first float32 engine, whole model on noise. Bundles hold 50 dB on the
cases they are verified in; this catches an engine that computes something else on this machine."""


class _Lane:
    """A cell that is being raced."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.image, self.mask = cell.make_inputs()
        self.label, self.problem = "", ""
        self.psnr_db: float | None = None
        self.quality: Quality | None = None
        self.peak_memory_mb: float | None = None
        self.device_memory_mb: float | None = None
        self.run: Run | None = None
        self.rounds: list[list[float]] = []

    def fail(self, error: Exception) -> None:
        """Time it no more, and say why."""
        self.run = None
        self.problem = "out of memory" if isinstance(error, MemoryError) else first_line(error)
        self.rounds.clear()

    def finish(self, ceiling: float | None, copy_gb_per_s: float | None) -> Result:
        """Return what came of it.

        Args:
            ceiling: The way's thousand million multiply-accumulates a second at best.
            copy_gb_per_s: The memory's.
        """
        cell = self.cell
        times = [latency for latencies in self.rounds for latency in latencies]
        measured: dict[str, Any] = {}
        if times:
            p50, p90, p99 = (float(value) for value in np.percentile(times, (50, 90, 99)))
            medians = [statistics.median(latencies) for latencies in self.rounds]
            least_bytes = cell.count_least_bytes()
            measured = {
                "num_calls": len(times),
                "p50_ms": p50,
                "p90_ms": p90,
                "p99_ms": p99,
                "images_per_s": cell.batch / p50 * 1e3,
                "variation": statistics.pstdev(medians) / statistics.fmean(medians),
                "roofline": cell.count_gmac() * cell.batch / (p50 / 1e3) / ceiling if ceiling else None,
                "copy_share": least_bytes / (p50 * 1e6) / copy_gb_per_s if least_bytes and copy_gb_per_s else None,
            }
        return Result(
            **cell.describe(),
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
    ceilings: Callable[[ExecutionConfig], float | None] = lambda execution: None,
    copy_gb_per_s: float | None = None,
    photos: PhotoSource | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Check and time cells.

    Args:
        cells: Which; see :func:`list_cells`.
        threads: CPU threads; None leaves the choice to each engine.
        rounds: Alternating rounds.
        seconds: Least time of each cell in each round; at least one call.
        ceilings: Returns the thousand million multiply-accumulates a second that a way reaches at its best.
        copy_gb_per_s: What memory reaches in copying, read and written; None if not measured.
        photos: Quality is measured on these, where weights are trained; None for none.
        on_progress: Told what is going on.
    """
    results: list[Result] = []
    # Those of one size and batch compete; between groups memory is freed.
    for (side, batch), group in _groups(cells):
        with ExitStack() as stack:
            lanes = [_Lane(cell) for cell in group]
            references: dict[str, Tensor] = {}
            pairs = load_pairs(photos, side) if photos is not None else []
            for lane in lanes:
                on_progress(f"{side}x{side}, batch {batch}: checking {lane.cell.subject.name} in {lane.cell.engine}")
                _open(lane, stack, references, threads)
                _score(lane, pairs)
            for number in range(rounds):
                on_progress(f"{side}x{side}, batch {batch}: round {number + 1} of {rounds}")
                for lane in lanes:
                    _time(lane, seconds)
            results += [
                lane.finish(ceilings(lane.cell.execution) if lane.cell.execution else None, copy_gb_per_s)
                for lane in lanes
            ]
    return results


def _groups(cells: Sequence[Cell]) -> Iterator[tuple[tuple[int, int], list[Cell]]]:
    for key in dict.fromkeys((cell.height, cell.batch) for cell in cells):
        yield key, [cell for cell in cells if (cell.height, cell.batch) == key]


def _open(lane: _Lane, stack: ExitStack, references: dict[str, Tensor], threads: int | None) -> None:
    """Open a lane, run it, and compare it with the first float32 engine of its model."""
    cell, subject = lane.cell, lane.cell.subject
    before, device_before = reset_peak_memory(), count_used_memory_mb()
    try:
        if isinstance(subject, Classical):
            lane.run, lane.label = subject.open()
        elif cell.execution is None:
            lane.run, lane.label = _open_torch(subject, threads)
        else:
            session = open_execution(cell.execution, threads=threads)
            stack.enter_context(session)
            lane.run, lane.label = session.run, session.engine
        for _ in range(WARMUP_CALLS):
            output = lane.run(lane.image, lane.mask)
        lane.peak_memory_mb = peak_memory_mb() - before
        device_now = count_used_memory_mb()
        if device_now is not None and device_before is not None:
            lane.device_memory_mb = float(device_now - device_before)
    except (WavePaintError, MemoryError, RuntimeError) as error:
        lane.fail(error)
        return
    if cell.execution is not None or isinstance(subject, Classical):
        problem = _check(lane, output, references)
        if problem:
            lane.fail(WavePaintError(problem))


def _check(lane: _Lane, output: Tensor, references: dict[str, Tensor]) -> str:
    """Return what is wrong with an output; empty if nothing is."""
    image, known = lane.image, np.broadcast_to(lane.mask == 0, lane.image.shape)
    if not np.isfinite(output).all():
        return "its output holds NaN or infinite values"
    if not np.array_equal(output[known], image[known]):
        return "it changes known pixels"
    name = lane.cell.subject.name
    if lane.cell.precision == "float32":
        reference = references.setdefault(name, output)
        if reference is output:
            return ""
    elif name not in references:
        return ""
    lane.psnr_db = min(psnr(output[~known], references[name][~known]), 200.0)
    return "" if lane.psnr_db >= MIN_PSNR_DB else f"it differs from float32: {lane.psnr_db:.1f} dB inside the hole"


def _score(lane: _Lane, pairs: Sequence[Pair]) -> None:
    """Measure how well a lane fills, where that means anything."""
    run = lane.run
    if run is None or not pairs or not lane.cell.has_quality:
        return

    def fill(image: Pixels, mask: Pixels) -> Pixels:
        if isinstance(lane.cell.subject, Classical):
            return np.asarray(run(image[None], mask[None, ..., None])[0], np.uint8)
        tensor = (image[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)
        filled = run(np.ascontiguousarray(tensor), mask[None, None].astype(np.float32))[0]
        pixels: Pixels = np.round(np.clip(filled.transpose(1, 2, 0), 0, 1) * 255).astype(np.uint8)
        return pixels

    try:
        lane.quality = measure_quality(fill, pairs)
    except (WavePaintError, MemoryError) as error:
        lane.fail(error)


def _open_torch(subject: Subject, threads: int | None) -> tuple[Run, str]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    network = subject.build_network()

    def run(image: Tensor, mask: Tensor) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(image), torch.from_numpy(mask))

    return run, f"PyTorch {torch.__version__} eager"


def _time(lane: _Lane, seconds: float) -> None:
    if lane.run is None:
        return
    latencies: list[float] = []
    finish = time.perf_counter() + seconds
    try:
        if not lane.rounds or lane.rounds[-1][-1] < seconds * 1e3:
            lane.run(lane.image, lane.mask)  # the others had the caches, which matters little where a call takes long
        while not latencies or time.perf_counter() < finish:
            started = time.perf_counter()
            lane.run(lane.image, lane.mask)
            latencies.append((time.perf_counter() - started) * 1e3)
    except (WavePaintError, MemoryError, RuntimeError) as error:
        lane.fail(error)
        return
    lane.rounds.append(latencies)
