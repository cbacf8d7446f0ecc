"""What wp infer does with folders, patterns and lists."""

import dataclasses
import json
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Self, get_args

import click

from wavepaint.atomic import check_folder, check_outputs, check_target, exists, write_file
from wavepaint.errors import OutputError
from wavepaint.runtime.batch import JobResult, Status, fill_jobs
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class _Progress:
    """One line on a terminal; elsewhere nothing but what failed."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.shows = sys.stderr.isatty()
        self.started = time.perf_counter()

    def tell(self, result: JobResult) -> None:
        self.done += 1
        if result.status == "failed":
            self.failed += 1
            click.echo(f"{chr(13) if self.shows else ''}failed: {result.error}", err=True)
        if self.shows:
            rate = self.done / (time.perf_counter() - self.started)
            left = (self.total - self.done) / rate
            failed = f", {self.failed} failed" if self.failed else ""
            click.echo(
                f"\r{self.done}/{self.total}{failed}, {rate:.1f} images/s, {left:.0f} s left   ", nl=False, err=True
            )

    def end(self) -> None:
        if self.shows:
            click.echo(err=True)


def with_pictures(jobs: list[Job], out: Path, overlays: Path | None, comparisons: Path | None) -> list[Job]:
    """Return the jobs with places for their pictures: the results' names as PNG in folders of their own."""
    chosen = [folder.resolve() for folder in (out, overlays, comparisons) if folder is not None]
    if len(set(chosen)) < len(chosen):
        raise OutputError("results and pictures need folders of their own (--out, --save-overlay, --compare).")

    def place(job: Job, folder: Path | None) -> Path | None:
        # The suffix stays in the name: a.jpg and a.png may lie side by side.
        name = job.out.relative_to(out) if job.out.is_relative_to(out) else Path(job.out.name)
        return folder / name.with_name(f"{name.name}.png") if folder is not None else None

    return [dataclasses.replace(job, overlay=place(job, overlays), comparison=place(job, comparisons)) for job in jobs]


def check_files(
    jobs: list[Job],
    inputs: Iterable[Path],
    folders: Iterable[Path],
    report: Path | None,
    *,
    overwrite: bool,
    resume: bool,
) -> None:
    """Refuse before any work what could not be written after it.

    Args:
        jobs: What is to be filled.
        inputs: What else is read.
        folders: Of the results and their pictures.
        report: Where the report goes.
        overwrite: Replace existing files.
        resume: Pass over jobs whose result exists, and replace the report of the earlier run.

    Raises:
        OutputError: Files exist, cannot be written, or are inputs or one another.
    """
    read = [path for job in jobs for path in (job.image, job.mask) if path is not None]
    written = [path for job in jobs for path in (job.out, job.overlay, job.comparison) if path is not None]
    check_outputs([*inputs, *read], written if report is None else [*written, report])
    existing = [path for path in written if exists(path)]
    if existing and not overwrite and not resume:
        raise OutputError(
            f"{len(existing)} of {len(written)} results exist already, {existing[0]} first. --resume passes over them, "
            "--overwrite replaces them."
        )
    for folder in folders:
        check_folder(folder)
    if report is not None:
        check_target(report, overwrite or (resume and _is_report(report)))


def _is_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"engine", "interrupted", "images"} <= content.keys()


class _Interrupt:
    """Ctrl-C, which within it interrupts once, and only while it is armed: what is in work is finished and told of."""

    armed = False

    def __enter__(self) -> Self:
        self._former = signal.getsignal(signal.SIGINT)
        if self._former is signal.default_int_handler:  # else a background job, which Ctrl-C does not concern
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._former)


def _as_row(result: JobResult) -> dict[str, object]:
    return {
        **{key: str(path) for key, path in dataclasses.asdict(result.job).items() if path is not None},
        "status": result.status,
        "seconds": round(result.seconds, 4),
        "hole": round(result.hole, 6),
        "error": result.error,
    }


def fill_many(
    inpainter: Inpainter, jobs: list[Job], options: FillOptions, *, overwrite: bool, resume: bool, report: Path | None
) -> int:
    """Fill all jobs, show the progress, write the report; return the exit status: 1 if any failed.

    After Ctrl-C what is in work is finished, and the report has a row for every result that is on disk.

    Raises:
        OutputError: The report cannot be written.
    """
    finished: dict[Job, JobResult] = {}

    def note(result: JobResult) -> None:
        finished[result.job] = result

    progress, interrupted = _Progress(len(jobs)), False
    stream = fill_jobs(inpainter, jobs, options=options, overwrite=overwrite, resume=resume, on_result=note)
    with _Interrupt() as interrupt:
        try:
            interrupt.armed = True
            with closing(stream):
                for result in stream:
                    progress.tell(result)
            interrupt.armed = False
        except KeyboardInterrupt:
            interrupt.armed = False
            interrupted = True
            for job in jobs[progress.done :]:
                if job in finished:
                    progress.tell(finished[job])
        progress.end()
        results = [finished[job] for job in jobs if job in finished]
        seconds = time.perf_counter() - progress.started
        counts = _count(results)
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count or status == "filled")
        click.echo(
            f"{told} of {len(jobs)} in {seconds:.1f} s, {counts['filled'] / seconds:.1f} images/s ({inpainter.engine})",
            err=True,
        )
        if report is not None:
            _write_report(report, inpainter, results, seconds, interrupted)
    if interrupted:
        click.echo("interrupted; every file that was written is whole. --resume goes on.", err=True)
        return INTERRUPTED
    return 1 if counts["failed"] else 0


def _count(results: list[JobResult]) -> dict[str, int]:
    return {status: sum(result.status == status for result in results) for status in get_args(Status)}


def _write_report(
    path: Path, inpainter: Inpainter, results: list[JobResult], seconds: float, interrupted: bool
) -> None:
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": inpainter.bundle.manifest.name,
        "engine": inpainter.engine,
        "seconds": round(seconds, 3),
        **_count(results),
        "interrupted": interrupted,
        "images": [_as_row(result) for result in results],
    }
    with write_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
