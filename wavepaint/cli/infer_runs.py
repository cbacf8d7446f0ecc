"""What ``wp infer`` does with its photos: fill them, show the progress, sum them up."""

import time
from contextlib import closing
from pathlib import Path

import click

from wavepaint.cli.interrupt import INTERRUPTED, INTERRUPTED_LINE, Interrupt
from wavepaint.cli.progress import SHORT_S, Progress
from wavepaint.errors import printable
from wavepaint.runtime.batch import fill_jobs
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job, JobResult, count_statuses, summarise_remarks, write_report


def run_jobs(
    inpainter: Inpainter,
    jobs: list[Job],
    options: FillOptions,
    *,
    overwrite: bool,
    resume: bool,
    report: Path | None,
) -> int:
    """Run all jobs, show the progress, write the report, and return the exit status.

    After Ctrl-C the photos in progress are finished, and the report has a row for every result on disk.

    Args:
        inpainter: The model.
        jobs: The photos to fill.
        options: How to fill them.
        overwrite: Replace existing results.
        resume: Skip jobs whose result exists.
        report: Path of the JSON report, if wanted.

    Returns:
        0 if no photo failed, 1 if one did, or :data:`INTERRUPTED`.

    Raises:
        OutputError: The report cannot be written.
    """
    finished: dict[Job, JobResult] = {}

    def note(result: JobResult) -> None:
        finished[result.job] = result

    started, interrupted = time.perf_counter(), False
    num_photos = len(jobs) if len(jobs) > 1 else None  # the progress of a single one is described
    with Interrupt() as interrupt, Progress(num_photos, unit="photo", delay_s=SHORT_S) as progress:
        stream = fill_jobs(
            inpainter,
            jobs,
            options=options,
            overwrite=overwrite,
            resume=resume,
            on_result=note,
            on_progress=lambda phase, share: progress.describe(f"{phase} {share:.0%}" if share else phase),
        )
        try:
            interrupt.armed = True
            with closing(stream):
                for result in stream:
                    _show(progress, result)
            interrupt.armed = False
        except KeyboardInterrupt:
            interrupt.armed = False
            interrupted = True
            for job in jobs[progress.num_done :]:
                if job in finished:
                    _show(progress, finished[job])
        progress.close()
        results = [finished[job] for job in jobs if job in finished]
        seconds = time.perf_counter() - started
        model = inpainter.bundle.manifest.name
        if len(jobs) > 1 or not count_statuses(results)["failed"]:
            summary = f"{_summarise(jobs, results, seconds)} ({printable(model)}, {inpainter.engine})"
            click.echo(summary + _describe_remarks(jobs, results), err=True)
        if report is not None:
            engine = inpainter.engine
            write_report(report, results, model=model, engine=engine, seconds=seconds, interrupted=interrupted)
    if interrupted:
        click.echo(f"{INTERRUPTED_LINE}; continue with --resume.", err=True)
        return INTERRUPTED
    return 1 if count_statuses(results)["failed"] else 0


def _show(progress: Progress, result: JobResult) -> None:
    progress.advance()
    if result.status == "failed":
        progress.print_line(f"error: {result.error}")


def _summarise(jobs: list[Job], results: list[JobResult], seconds: float) -> str:
    """Summarise the results: in detail for one photo, as counts for a batch."""
    if len(jobs) == len(results) == 1 and results[0].status == "filled":
        (result,) = results
        (width, height), place = result.size, result.job.out
        name = printable(place) if isinstance(place, Path) else "stdout"
        return f"{name}: filled {result.hole:.1%} of {width}x{height} px in {result.seconds:.2f} s"
    counts = count_statuses(results)
    shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count or status == "filled")
    return f"{shown} of {len(jobs)} in {seconds:.1f} s, {counts['filled'] / seconds:.1f} photos/s"


def _describe_remarks(jobs: list[Job], results: list[JobResult]) -> str:
    """Return what to add to the summary about the masks: sentences on one photo, or lines on a batch."""
    if len(jobs) > 1:
        return "".join(f"\n{line}" for line in summarise_remarks(results))
    sentences = (str(remark) for result in results for remark in result.remarks)
    return "".join(f". {sentence[0].upper()}{sentence[1:]}" for sentence in sentences)
