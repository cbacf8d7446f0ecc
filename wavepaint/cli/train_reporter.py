"""What ``wp train`` tells: its progress, and how to go on."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import click

from wavepaint.cli.progress import Progress
from wavepaint.errors import printable
from wavepaint.training.config import RunConfig
from wavepaint.training.measures import MEASURES, Metrics
from wavepaint.training.reporter import EpochReport, Reporter, RunFacts

_SMOOTHING = 0.005
"""Weight of a step in the bar's estimate. A validation takes as long as many steps, and must not shake the estimate."""

_NUM_LABELS = 5
"""Classes that the first line names."""

NOT_BEGUN = "stopped before the first step: nothing was trained. Start again with the same command."


def describe_duration(seconds: float) -> str:
    """Return a duration with two units at most, such as "2 h 10 min"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} days {hours % 24} h"


def _describe_size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.0f} GB" if num_bytes >= 1e10 else f"{math.ceil(num_bytes / 1e6):,} MB"


def _describe_classes(labels: Sequence[str]) -> str:
    """Return the number of classes and the names of the first, with a semicolon; nothing for inpainting."""
    if not labels:
        return ""
    more = ", ..." if len(labels) > _NUM_LABELS else ""
    return f"{len(labels)} classes: {', '.join(map(printable, labels[:_NUM_LABELS]))}{more}; "


class ConsoleReporter(Reporter):
    """Progress on stderr: a bar for the steps and a line per validation.

    Args:
        out: The folder of the run.
    """

    _progress: Progress

    def __init__(self, out: Path) -> None:
        self._out = out
        self._at_most = ""

    def on_start(self, config: RunConfig, facts: RunFacts) -> None:
        processes = f", {facts.num_processes} processes" if facts.num_processes > 1 else ""
        click.echo(
            f"training {config.architecture} ({config.recipe}), photos: {facts.num_train}, for validation: "
            f"{facts.num_val}; {_describe_classes(facts.labels)}"
            f"{facts.device}{processes}, {facts.precision}, {facts.total_steps} steps of "
            f"{config.optimization.batch_size} crops of {config.data.crop_size} px\n"
            f"its files need up to {_describe_size(facts.disk_bytes)} in {self._out}; "
            f"{_describe_size(facts.free_bytes)} are free",
            err=True,
        )
        if config.optimization.schedule == "plateau":
            self._at_most = "at most "
        self._progress = Progress(facts.total_steps, unit="step", initial=facts.step, smoothing=_SMOOTHING)

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        self._progress.show_values(loss=f"{loss:.4f}", images_per_s=f"{images_per_s:.1f}")
        self._progress.move_to(step)

    def on_estimate(self, seconds_left: float, images_per_s: float) -> None:
        self._progress.print_line(
            f"{self._at_most}about {describe_duration(seconds_left)} left ({images_per_s:.1f} images/s)"
        )

    def on_validating(self) -> None:
        self._progress.describe("validating")

    def on_validation(self, step: int, metrics: Metrics) -> None:
        self._progress.describe("")
        when = f"step {step}" if step else "before training"
        self._progress.print_line(
            f"{when}: validation {metrics.describe()}"
            + ("" if step else f"; sample pictures are in {self._out / 'samples'}")
        )

    def on_epoch(self, report: EpochReport) -> None:
        self._progress.describe("")
        waiting = f" ({report.loader_share:.0%} of the time waiting for photos)" if report.loader_share > 0.1 else ""
        self._progress.print_line(
            f"epoch {report.epoch}: loss {report.loss:.4f}, validation {report.metrics.describe()}, "
            f"{report.images_per_s:.1f} images/s{waiting}" + (" (best)" if report.best else "")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if hasattr(self, "_progress"):
            self._progress.close()


def make_export_command(checkpoint: Path) -> str:
    """Return the command that exports a checkpoint of a run."""
    return shlex.join(["wp", "export", str(checkpoint), "-o", str(Path("bundles") / checkpoint.parent.resolve().name)])


def describe_stop(step: int, resume_command: str, *, best: Path, last: Path) -> str:
    """Return what a stopped run says: where it stands, and the commands that continue and export it."""
    if not step:
        return NOT_BEGUN
    if best.exists():
        export = f"to export the best weights so far: {make_export_command(best)}"
    else:
        export = f"to export the weights of this step, which no validation has measured: {make_export_command(last)}"
    return f"stopped at step {step}; the run is saved in {best.parent}\nto continue: {resume_command}\n{export}"


def describe_end(best: Path, monitor: str, rank: float, start_rank: float | None) -> str:
    """Return what a finished run says: what it has gained, and the command that exports it.

    Args:
        best: The best weights.
        monitor: The metric that chose them.
        rank: Its best value, negated if less is better.
        start_rank: Its value before training; None if unknown.
    """
    text = f"done: export it with: {make_export_command(best)}"
    if start_rank is None:
        return text
    measure = MEASURES[monitor]
    sign, lower = (-1, " (lower is better)") if measure.lower_is_better else (1, "")
    before, after = measure.describe(sign * start_rank), measure.describe(sign * rank)
    change = f"{measure.title}{lower}: {before} before training, {after} at its best"
    if rank <= start_rank:
        change += ". Training has not improved the network: try more photos, more steps or a lower --learning-rate"
    return f"{change}\n{text}"
