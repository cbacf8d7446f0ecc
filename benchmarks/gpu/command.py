"""The command line of ``benchmarks/gpu_proof.py``."""

import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu.cells import DRY_MODELS, FULL_MODELS, Effort, choose, list_heats
from benchmarks.gpu.criteria import judge
from benchmarks.gpu.proof import Limits, describe_stop, make_place, run_proof
from benchmarks.gpu.record import Record
from benchmarks.gpu.report import count_states, write_report
from benchmarks.gpu.worker import Worker
from wavepaint import __version__
from wavepaint.bench.entrants import DEFAULT
from wavepaint.errors import ConfigError, WavePaintError
from wavepaint.machine import describe_machine
from wavepaint.runtime.engines.gpus import find_gpus

_ROUNDS, _SECONDS, _MIN_CALLS = 3, 0.6, 5
_DRY_ROUNDS, _DRY_SECONDS, _DRY_MIN_CALLS = 2, 0.02, 2
_TIME_LIMIT_S = 1500.0


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of the record and the report.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder of models and plans. Default: work, below -o.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Names of cells, such as 'tensorrt*/256/*'; repeatable.")
@click.option("--time-limit", type=click.FloatRange(min=0), default=_TIME_LIMIT_S, show_default=True, metavar="SECONDS")
@click.option("--rounds", type=click.IntRange(min=1), help=f"Alternating rounds. Default: {_ROUNDS}.")
@click.option("--seconds", type=click.FloatRange(min=0), help=f"Of a cell in a round. Default: {_SECONDS}.")
@click.option("--prepared", type=click.Path(path_type=Path), help="Folder that --prepare wrote.")
@click.option("--retry-failed", is_flag=True, help="Measure again what failed.")
@click.option("--dry-run", is_flag=True, help="Everything but the card: tiny models on the CPU.")
@click.option("--list", "is_list", is_flag=True, help="Name what would be measured, in order, and stop.")
@click.option("--prepare", type=click.Path(path_type=Path), metavar="DIR", help="Export the models' graphs and stop.")
@click.option("--report", "is_report", is_flag=True, help="Write the report of the record again and stop.")
def command(
    out: Path | None,
    work: Path | None,
    only: tuple[str, ...],
    time_limit: float,
    rounds: int | None,
    seconds: float | None,
    prepared: Path | None,
    retry_failed: bool,
    dry_run: bool,
    is_list: bool,
    prepare: Path | None,
    is_report: bool,
) -> None:
    """Prove on a GPU host what WavePaint's engines reach there."""
    started = time.time()
    heats = choose(list_heats(dry=dry_run), only)
    if not heats:
        raise ConfigError(f"no cell matches {' or '.join(only)}. --list names them all (--only).")
    if is_list:
        for heat in heats:
            for task in heat.tasks:
                click.echo(task.id)
        return
    if prepare is not None:
        _prepare(prepare, dry_run)
        return
    if out is None:
        raise ConfigError("there is no folder for the record. Name one with -o.")
    if prepared is not None and not prepared.is_dir():
        raise ConfigError(f"{prepared} is no folder. Expected what --prepare wrote (--prepared).")
    record = Record(out, is_dry=dry_run)
    if is_report:
        _finish(out, record)
        return
    if not dry_run and not find_gpus():
        raise ConfigError("no NVIDIA driver or GPU was found here. --dry-run exercises everything but the card.")
    run = _describe_run()
    record.begin_run(run)
    effort = Effort(
        rounds=rounds or (_DRY_ROUNDS if dry_run else _ROUNDS),
        seconds=seconds if seconds is not None else (_DRY_SECONDS if dry_run else _SECONDS),
        min_calls=_DRY_MIN_CALLS if dry_run else _MIN_CALLS,
        deadline=started + time_limit,
    )
    worker = Worker(make_place(work or out / "work", prepared, is_dry=dry_run))
    retry = ("failed",) if retry_failed else ()
    reason = "stopped by hand"
    try:
        reason = run_proof(heats, record, worker, Limits(effort=effort), retry=retry, tell=_tell)
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
    finally:
        run |= {"seconds": round(time.time() - started, 1), "stopped": describe_stop(reason, time.time() - started)}
        record.save()
        _finish(out, record)  # before a process that may take its time to end
        worker.close(patient=not reason)


def _tell(text: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S} {text}", err=True)


def _describe_run() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/gpu_proof.py", *sys.argv[1:]]),
        "wavepaint": __version__,
        "machine": describe_machine(),
    }


def _prepare(folder: Path, dry_run: bool) -> None:
    from benchmarks.gpu.graphs import prepare

    for name in DRY_MODELS if dry_run else FULL_MODELS:
        if name == DEFAULT:
            continue  # ships exported
        if (folder / f"{name}.json").exists():
            _tell(f"{name}: there already")
            continue
        _tell(f"{name}: exporting")
        told = prepare(name, folder)
        for precision in ("float16", "float32"):
            one = told[precision]
            _tell(f"  {precision}: {one['seconds']} s, {one['kept_bytes'] / 1e6:.2f} of {one['bytes'] / 1e6:.1f} MB")


def _finish(out: Path, record: Record) -> None:
    for path in write_report(out, record.content):
        click.echo(f"wrote {path}")
    for criterion in judge(record.content):
        click.echo(f"{criterion.verdict}: {criterion.wanted}: {criterion.found}")
    click.echo(count_states(record.content))


def main(help_text: str | None = None) -> None:
    """Run the command; an error that is meant for people is one line."""
    if help_text:
        command.help = "\b\n" + help_text.replace("\n\n", "\n\n\b\n")
    try:
        command(standalone_mode=True)
    except WavePaintError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
