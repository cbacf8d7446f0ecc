"""The work of ``wp bench``: time cells in this process or in a child, then stages and operators."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from wavepaint.bench import report
from wavepaint.bench.card import Card, add_card_shares
from wavepaint.bench.cells import Cell, Result
from wavepaint.bench.entrants import Entrant, Subject
from wavepaint.bench.photo_stages import StageTimes, find_fastest, measure_stages
from wavepaint.bench.profile import Profile, measure_profile
from wavepaint.bench.race import race
from wavepaint.bench.record import Record
from wavepaint.bench.roofline import add_shares, measure_copy_rate, measure_matrix_rate
from wavepaint.bench.worker import Limits, Worker, WorkerLostError, race_in_child, send_card
from wavepaint.cache_folder import cache_folder
from wavepaint.cli.progress import print_line
from wavepaint.contract import INPAINTING
from wavepaint.data.sources import PhotoSource
from wavepaint.runtime.engines.engine import ExecutionConfig

STEP_LIMIT_S = 300.0
"""Default of --cell-limit."""

Show = Callable[[str], None]
"""Shows a status line."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The values of the command line; see the help of each option."""

    bundles: tuple[Path, ...]
    models: str | None
    engines: str | None
    precisions: str | None
    sizes: list[int] | None
    batch: list[int] | None
    threads: int | None
    rounds: int | None
    seconds: float | None
    quick: bool
    photos: Path | None
    profile: bool
    preset: str | None
    dry_run: bool
    resume: bool
    retry_failed: bool
    time_limit: float | None
    cell_limit: float | None
    json_path: Path | None
    markdown: Path | None
    plot: Path | None
    compare: Path | None
    margin: float
    overwrite: bool

    @property
    def is_isolated(self) -> bool:
        """Whether cells run in a child process."""
        limits = (self.time_limit, self.cell_limit)
        return self.preset is not None or self.resume or any(limit is not None for limit in limits)

    def choose_rounds(self) -> tuple[int, float]:
        """Return the number of rounds, and the seconds for each cell in each round."""
        rounds, seconds = (2, 0.2) if self.quick else (5, 1.0)
        if self.preset is not None:
            rounds, seconds = (2, 0.02) if self.dry_run else (3, 0.6)
        return self.rounds or rounds, seconds if self.seconds is None else self.seconds


def run_here(cells: list[Cell], options: Options, record: Record, photos: PhotoSource | None, show: Show) -> None:
    """Time the cells in this process, and add the shares of the roofs that they reach."""
    rounds, seconds = options.choose_rounds()
    copy_gb_per_s = measure_copy_rate(options.threads, seconds=min(seconds, 1.0))
    results = race(cells, threads=options.threads, rounds=rounds, seconds=seconds, photos=photos, on_progress=show)
    roofs: dict[str, float | None] = {}
    by_key = {report.make_key(cell.describe()): cell for cell in cells}
    for result in results:
        cell = by_key[report.make_key(result.as_dict())]
        execution, roof = cell.execution, None
        if isinstance(execution, ExecutionConfig) and result.p50_ms is not None:
            key = f"{execution.engine} {execution.arithmetic} {execution.artifact.precision}"
            if key not in roofs:
                show(f"measuring the roof of {execution.engine} {execution.arithmetic}")
                roofs[key] = measure_matrix_rate(execution, threads=options.threads, seconds=min(seconds, 1.0))
            roof = roofs[key]
        record.add([add_shares(cell, result, roof, copy_gb_per_s)])
    record.content |= {"copy_gb_per_s": copy_gb_per_s, "matrix_gmac_per_s": roofs}


def run_in_child(cells: list[Cell], options: Options, record: Record, show: Show) -> None:
    """Time the cells that the record lacks in a child process, and save the record after every group."""
    started = time.time()
    rounds, seconds = options.choose_rounds()
    is_proof = options.preset is not None
    race_options = {
        "threads": options.threads,
        "rounds": rounds,
        "seconds": seconds,
        "photos": options.photos,
        "plans": cache_folder() / "bench" / "plans" if is_proof else None,
        "in_pytorch": is_proof,
    }
    deadline = float("inf") if options.time_limit is None else started + options.time_limit
    limits = Limits(step_s=options.cell_limit or STEP_LIMIT_S, deadline=deadline)
    by_key = {report.make_key(cell.describe()): cell for cell in cells}
    pending = record.list_pending(cells, retry_failed=options.retry_failed)
    known = [] if options.retry_failed else record.results
    worker = Worker(hide_gpus=options.dry_run)

    def keep(results: list[Result]) -> None:
        if card := record.content.get("card"):
            results = [add_card_shares(by_key[report.make_key(r.as_dict())], r, Card(**card)) for r in results]
        record.add(results)
        record.save()

    is_done = False
    try:
        if is_proof and record.content.get("card") is None and not limits.is_over:
            show("measuring the GPU")
            try:
                for _, card in worker.run(limits, send_card):
                    record.content["card"] = asdict(card)
            except WorkerLostError as error:
                print_line(f"the GPU was not measured: {error}")
        is_done = race_in_child(pending, race_options, worker, limits, known=known, keep=keep, on_progress=show)
    except KeyboardInterrupt:
        print_line("stopping")
    finally:
        worker.close()
        if not is_done:
            record.stop(f"stopped after {time.time() - started:.0f} s; repeat the command with --resume to continue")
        record.save()


def time_stages(
    subjects: Sequence[Entrant], results: list[Result], threads: int | None, show: Show
) -> list[StageTimes]:
    """Time the stages of a photo in the fastest engine of each model and size."""
    models = {subject.name: subject for subject in subjects if isinstance(subject, Subject)}
    stages = []
    for result in find_fastest(results):
        if models[result.model].bundle.task is not INPAINTING:
            continue
        show(f"{result.height}x{result.height}: timing the stages of {result.model}")
        stages.append(measure_stages(models[result.model], result, threads=threads))
    return stages


def profile_cells(cells: list[Cell], results: list[Result], options: Options, show: Show) -> list[Profile]:
    """Profile the operators of the timed cells, if --profile is given and the engine supports it."""
    timed = {report.make_key(result.as_dict()) for result in results if result.p50_ms is not None}
    profiles = []
    for cell in cells if options.profile else ():
        if report.make_key(cell.describe()) in timed:
            show(f"{cell.height}x{cell.height}: profiling {cell.subject.name} in {cell.engine} {cell.precision}")
            profiles.append(measure_profile(cell, threads=options.threads))
    return [profile for profile in profiles if profile is not None]
