"""The race: cells of model, engine, precision, size and batch, checked before they are timed, in alternating rounds.

Rounds alternate (A B A B ...) so that a machine whose speed drifts is unfair to nobody. A cell that fails says why, and
the others go on.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavepaint.bench.subjects import Subject
from wavepaint.errors import WavePaintError
from wavepaint.metrics import psnr
from wavepaint.runtime.engines import Way, list_best_ways, open_way
from wavepaint.runtime.session import first_line
from wavepaint.timing import Array, Run, make_batch, peak_memory_mb, reset_peak_memory

WARMUP_CALLS = 2
PYTORCH = "pytorch"

MIN_PSNR_DB = 45.0
"""Least PSNR inside the hole against the model's first float32 engine, whole model on noise. Bundles hold 50 dB on the
cases they are verified in; this catches an engine that computes something else on this machine."""


@dataclass(frozen=True)
class Cell:
    """One entry of the race: a subject in a way (None: eager PyTorch) at a size."""

    subject: Subject
    way: Way | None
    height: int
    width: int
    batch: int

    @property
    def engine(self) -> str:
        """Engine's name on the command line."""
        return self.way.engine if self.way else PYTORCH

    @property
    def precision(self) -> str:
        """Of the arithmetic."""
        return self.way.arithmetic if self.way else "float32"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a cell.

    Attributes:
        model: The subject's name.
        weights: "trained" or "random".
        engine: Name on the command line.
        label: Engine, version and device; empty if it did not open.
        precision: Of the arithmetic.
        height: In pixels; ``width`` likewise.
        batch: Images a call.
        num_parameters: Of the model.
        gmac: Thousand million multiply-accumulates of one image of this size.
        file_bytes: Of the exported model; 0 in PyTorch.
        problem: Why it was not timed; empty if it was.
        psnr_db: Inside the hole against the model's reference engine; None for the reference itself and in PyTorch.
        num_calls: Timed calls; the following are None without any.
        p50_ms: Median latency of a call; ``p90_ms`` and ``p99_ms`` likewise.
        images_per_s: ``batch`` over the median latency.
        variation: Standard deviation of the rounds' medians over their mean.
        peak_memory_mb: Largest resident memory of the process in a call, above what it held before it opened the model.
        roofline: Share reached of what this engine and precision reach in plain convolutions; None if not measured.
    """

    model: str
    weights: str
    engine: str
    label: str
    precision: str
    height: int
    width: int
    batch: int
    num_parameters: int
    gmac: float
    file_bytes: int
    problem: str = ""
    psnr_db: float | None = None
    num_calls: int = 0
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    images_per_s: float | None = None
    variation: float | None = None
    peak_memory_mb: float | None = None
    roofline: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def list_cells(
    subjects: Sequence[Subject],
    sizes: Sequence[int],
    batches: Sequence[int],
    *,
    engines: Sequence[str],
    precisions: Sequence[str] = (),
) -> list[Cell]:
    """Return the cells, those that compete side by side.

    Args:
        subjects: The models.
        sizes: Heights and widths; rounded up to each model's size multiple.
        batches: Images a call.
        engines: Names on the command line, and :data:`PYTORCH`.
        precisions: Of the arithmetic; empty for all.
    """
    cells = []
    for side in sizes:
        for batch in batches:
            for subject in subjects:
                multiple = subject.bundle.manifest.size_multiple
                rounded = -(-side // multiple) * multiple
                ways: list[Way | None] = [way for way in list_best_ways(subject.bundle) if way.engine in engines]
                ways += [None] if PYTORCH in engines else []
                cells += [Cell(subject, way, rounded, rounded, batch) for way in ways]
    chosen = [cell for cell in cells if not precisions or cell.precision in precisions]
    order = [*dict.fromkeys((cell.height, cell.batch, cell.engine, cell.precision) for cell in chosen)]
    return sorted(chosen, key=lambda cell: order.index((cell.height, cell.batch, cell.engine, cell.precision)))


class _Lane:
    """A cell that is being raced."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.label, self.problem = "", ""
        self.psnr_db: float | None = None
        self.peak_memory_mb: float | None = None
        self.run: Run | None = None
        self.rounds: list[list[float]] = []

    def fail(self, error: Exception) -> None:
        """Time it no more, and say why."""
        self.run = None
        self.problem = "out of memory" if isinstance(error, MemoryError) else first_line(error)
        self.rounds.clear()

    def finish(self, ceiling: float | None) -> Result:
        cell, manifest = self.cell, self.cell.subject.bundle.manifest
        gmac = manifest.macs_per_pixel * cell.height * cell.width / 1e9
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
                "images_per_s": cell.batch / p50 * 1e3,
                "variation": statistics.pstdev(medians) / statistics.fmean(medians),
                "roofline": gmac * cell.batch / (p50 / 1e3) / ceiling if ceiling else None,
            }
        return Result(
            model=cell.subject.name,
            weights="trained" if cell.subject.is_trained else "random",
            engine=cell.engine,
            label=self.label,
            precision=cell.precision,
            height=cell.height,
            width=cell.width,
            batch=cell.batch,
            num_parameters=manifest.num_parameters,
            gmac=gmac,
            file_bytes=cell.subject.bundle.path_of(cell.way.artifact).stat().st_size if cell.way else 0,
            problem=self.problem,
            psnr_db=self.psnr_db,
            peak_memory_mb=self.peak_memory_mb,
            **measured,
        )


def race(
    cells: Sequence[Cell],
    *,
    threads: int | None = None,
    rounds: int = 5,
    seconds: float = 1.0,
    ceilings: Callable[[Way], float | None] = lambda way: None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Check and time cells.

    Args:
        cells: Which; see :func:`list_cells`.
        threads: CPU threads; None leaves the choice to each engine.
        rounds: Alternating rounds.
        seconds: Least time of each cell in each round; at least one call.
        ceilings: Returns the thousand million multiply-accumulates a second that a way reaches at its best.
        on_progress: Told what is going on.
    """
    results: list[Result] = []
    # Those of one size and batch compete; between groups memory is freed.
    for (side, batch), group in _groups(cells):
        with ExitStack() as stack:
            lanes = [_Lane(cell) for cell in group]
            references: dict[str, Array] = {}
            for lane in lanes:
                on_progress(f"{side}x{side}, batch {batch}: checking {lane.cell.subject.name} in {lane.cell.engine}")
                _open(lane, stack, references, threads)
            for number in range(rounds):
                on_progress(f"{side}x{side}, batch {batch}: round {number + 1} of {rounds}")
                for lane in lanes:
                    _time(lane, seconds)
            results += [lane.finish(ceilings(lane.cell.way) if lane.cell.way else None) for lane in lanes]
    return results


def _groups(cells: Sequence[Cell]) -> Iterator[tuple[tuple[int, int], list[Cell]]]:
    for key in dict.fromkeys((cell.height, cell.batch) for cell in cells):
        yield key, [cell for cell in cells if (cell.height, cell.batch) == key]


def _open(lane: _Lane, stack: ExitStack, references: dict[str, Array], threads: int | None) -> None:
    """Open a lane, run it once, and compare it with the first float32 engine of its model."""
    cell = lane.cell
    image, mask = make_batch(cell.batch, cell.height, cell.width)
    before = reset_peak_memory()
    try:
        if cell.way is None:
            lane.run, lane.label = _open_torch(cell.subject, threads)
        else:
            path: Path = cell.subject.bundle.path_of(cell.way.artifact)
            session = open_way(cell.way, path, cell.subject.bundle.manifest.size_multiple, threads=threads)
            stack.enter_context(session)
            lane.run, lane.label = session.run, session.engine
        for _ in range(WARMUP_CALLS):
            output = lane.run(image, mask)
        lane.peak_memory_mb = peak_memory_mb() - before
    except (WavePaintError, MemoryError, RuntimeError) as error:
        lane.fail(error)
        return
    if cell.way is not None:
        lane.problem = _check(lane, np.asarray(output), image, mask, references)
        lane.run = None if lane.problem else lane.run


def _check(lane: _Lane, output: Array, image: Array, mask: Array, references: dict[str, Array]) -> str:
    """Return what is wrong with an output; empty if nothing is."""
    known = np.broadcast_to(mask == 0, image.shape)
    if not np.isfinite(output).all():
        return "its output holds NaN or infinite values"
    if not np.array_equal(output[known], image[known]):
        return "it changes known pixels"
    if lane.cell.precision == "float32":
        reference = references.setdefault(lane.cell.subject.name, output)
        if reference is output:
            return ""
    elif lane.cell.subject.name not in references:
        return ""
    reference = references[lane.cell.subject.name]
    lane.psnr_db = min(psnr(output[~known], reference[~known]), 200.0)
    return "" if lane.psnr_db >= MIN_PSNR_DB else f"it differs from float32: {lane.psnr_db:.1f} dB inside the hole"


def _open_torch(subject: Subject, threads: int | None) -> tuple[Run, str]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    network = subject.build_network()

    def run(image: Array, mask: Array) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(image), torch.from_numpy(mask))

    return run, f"PyTorch {torch.__version__} eager"


def _time(lane: _Lane, seconds: float) -> None:
    if lane.run is None:
        return
    image, mask = make_batch(lane.cell.batch, lane.cell.height, lane.cell.width)
    latencies: list[float] = []
    finish = time.perf_counter() + seconds
    try:
        if not lane.rounds or lane.rounds[-1][-1] < seconds * 1e3:
            lane.run(image, mask)  # the others had the caches, which matters little where a call takes long
        while not latencies or time.perf_counter() < finish:
            started = time.perf_counter()
            lane.run(image, mask)
            latencies.append((time.perf_counter() - started) * 1e3)
    except (WavePaintError, MemoryError, RuntimeError) as error:
        lane.fail(error)
        return
    lane.rounds.append(latencies)
