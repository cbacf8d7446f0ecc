"""wp bench: race models, engines and precisions on this machine."""

import importlib.util
import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from wavepaint import __version__
from wavepaint.atomic import check_outputs, check_target, write_file
from wavepaint.bench import report
from wavepaint.bench.cells import ON_CPU, PYTORCH, Cell, Result, list_cells
from wavepaint.bench.entrants import DEFAULT, Entrant, Subject, open_entrant
from wavepaint.bench.photo_stages import Split, find_fastest, make_split_rows, measure_split
from wavepaint.bench.plot import check_plot, write_plot
from wavepaint.bench.profile import PROFILED, Profile, make_profile_rows, measure_profile
from wavepaint.bench.quality import MASKS
from wavepaint.bench.race import race
from wavepaint.bench.roofline import measure_copy_rate, measure_matrix_rate
from wavepaint.data.masks import describe_kind
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import ConfigError, EngineError, WavePaintError
from wavepaint.machine import describe_machine
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.registry import ENGINES, PRECISIONS
from wavepaint.runtime.engines.session import make_batch

RIVAL = "lama"
NOISY_VARIATION = 0.1


def _numbers(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 256,512.")
    return numbers


def _names(text: str, known: tuple[str, ...], option: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {name!r}: expected some of {', '.join(known)} ({option}).")
    return names


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{text[:100]:<100}", nl=False, err=True)


def _open_subjects(names: list[str], chosen: bool) -> list[Entrant]:
    """Open the models; what was not named and cannot be had here is told and left out."""
    subjects: list[Entrant] = []
    for name in names:
        try:
            subjects.append(open_entrant(name, on_stage=_tell))
        except EngineError as error:
            if chosen:
                raise
            click.echo(f"not raced: {name}: {error}", err=True)
    return subjects


@click.command()
@click.argument("bundles", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--models",
    help="Names and bundles, with commas; telea and navier-stokes are OpenCV's (opencv extra). Default: BUNDLES (or "
    "the model that ships), wavepaint and lama.",
)
@click.option("--engines", help=f"Of {', '.join((*ENGINES, PYTORCH))}. Default: those of this machine.")
@click.option("--precisions", help=f"Of {', '.join(PRECISIONS)}. Default: all.")
@click.option("--sizes", callback=_numbers, help="Sides in pixels. Default: 256,512; 256 with --quick.")
@click.option("--batch", default="1", show_default=True, callback=_numbers, help="Images a call.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: each engine's choice.")
@click.option("--rounds", type=click.IntRange(min=1), help="Alternating rounds. Default: 5; 2 with --quick.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    help="Least time of a cell in a round. Default: 1; a fifth with --quick.",
)
@click.option("--quick", is_flag=True, help="To see that all works.")
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Measure PSNR and SSIM on the photos of this folder, inside medium holes, where weights are trained.",
)
@click.option("--profile", is_flag=True, help=f"Tell which operators take the time, in {' and '.join(PROFILED)}.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results to this file.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the results as a page.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the results (plot extra).")
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="Compare with a former --json file; exit status 1 if anything became slower by more than the margin.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    default=0.15,
    show_default=True,
    help="Share of latency that --compare allows.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def command(
    bundles: tuple[Path, ...],
    models: str | None,
    engines: str | None,
    precisions: str | None,
    sizes: list[int] | None,
    batch: list[int],
    threads: int | None,
    rounds: int | None,
    seconds: float | None,
    quick: bool,
    photos: Path | None,
    profile: bool,
    json_path: Path | None,
    markdown: Path | None,
    plot: Path | None,
    compare: Path | None,
    margin: float,
    overwrite: bool,
) -> None:
    """Race BUNDLES against WavePaint and LaMa as their papers have them, in every engine that works here.

    Every cell is checked before it is timed, rounds alternate, and what cannot run says why. Baselines have random
    weights, which is all the same for speed; they are exported once, which needs the train extra, and kept in the
    cache folder. Quality is told of trained weights alone, on photos that you bring. Sizes are rounded up to each
    model's multiple. One run compares; figures of different runs or machines do not.
    """
    scenes = open_source(photos) if photos is not None else None
    sizes = sizes or ([256] if quick else [256, 512])
    rounds = rounds or (2 if quick else 5)
    seconds = seconds if seconds is not None else (0.2 if quick else 1.0)
    own = [str(path) for path in bundles] or [DEFAULT]
    names = models.split(",") if models else [*own, "wavepaint", RIVAL]
    _check_files(names, scenes, [json_path, markdown, plot], plot, compare, overwrite)
    here = tuple(ENGINES) if find_gpus() else ON_CPU
    chosen = _names(engines, (*ENGINES, PYTORCH), "--engines") if engines else [*here]
    wanted = _names(precisions, PRECISIONS, "--precisions") if precisions else []
    if PYTORCH in chosen and importlib.util.find_spec("torch") is None:
        chosen.remove(PYTORCH)
        click.echo('PyTorch is not installed and not timed: pip install "wavepaint[train]" adds it.', err=True)
    subjects = _open_subjects([name.strip() for name in names], models is not None)
    cells = list_cells(subjects, sizes, batch, engines=chosen, precisions=wanted)
    if not cells:
        raise WavePaintError("nothing is left to time: no model runs in these engines and precisions.")
    roofs: dict[tuple[str, str, str], float | None] = {}

    def ceiling(execution: ExecutionConfig) -> float | None:
        key = (execution.engine, execution.arithmetic, execution.artifact.precision)
        if key not in roofs:
            _tell(f"measuring the roof of {execution.engine} {execution.arithmetic}")
            roofs[key] = measure_matrix_rate(execution, threads=threads, seconds=min(seconds, 1.0))
        return roofs[key]

    copy_gb_per_s = measure_copy_rate(threads, seconds=min(seconds, 1.0))
    results = race(
        cells,
        threads=threads,
        rounds=rounds,
        seconds=seconds,
        ceilings=ceiling,
        copy_gb_per_s=copy_gb_per_s,
        photos=scenes,
        on_progress=_tell,
    )
    splits = _split(subjects, results, threads)
    timed = {report.make_key(result.as_dict()) for result in results if result.p50_ms is not None}
    profiles = (
        _profile([cell for cell in cells if report.make_key(cell.describe()) in timed], threads) if profile else []
    )
    _tell("")
    click.echo(report.make_table(results, RIVAL))
    split_rows = make_split_rows(splits) if splits else []
    profile_rows = make_profile_rows(profiles) if profiles else []
    if splits:
        click.echo(f"\nWhere the time of one photo goes, filled as a whole:\n{report.align(split_rows, 3)}")
    if profiles:
        click.echo(f"\nWhere the engine's time goes, by its own profile:\n{report.align(profile_rows, 3)}")
    content: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["wp", *sys.argv[1:]]),
        "wavepaint": __version__,
        "machine": describe_machine(),
        "threads": threads,
        "rounds": rounds,
        "seconds": seconds,
        "hole_share": float(make_batch(1, 256, 256)[1].mean()),
        "num_photos": len(scenes.names) if scenes else 0,
        "masks": describe_kind(MASKS),
        "copy_gb_per_s": copy_gb_per_s,
        "matrix_gmac_per_s": {" ".join(key): rate for key, rate in roofs.items()},
        "results": [result.as_dict() for result in results],
        "splits": [split.as_dict() for split in splits],
        "profiles": [profile.as_dict() for profile in profiles],
    }
    page = report.make_markdown(content, results, RIVAL, split_rows, profile_rows)
    _write(content, page, results, json_path, markdown, plot, overwrite)
    _judge(results, compare, margin)


def _split(subjects: list[Entrant], results: list[Result], threads: int | None) -> list[Split]:
    models = {subject.name: subject for subject in subjects if isinstance(subject, Subject)}
    splits = []
    for result in find_fastest(results):
        _tell(f"{result.height}x{result.height}: where the time of {result.model} goes")
        splits.append(measure_split(models[result.model], result, threads=threads))
    return splits


def _profile(cells: list[Cell], threads: int | None) -> list[Profile]:
    profiles = []
    for cell in cells:
        _tell(f"{cell.height}x{cell.height}: profiling {cell.subject.name} in {cell.engine} {cell.precision}")
        profiles.append(measure_profile(cell, threads=threads))
    return [profile for profile in profiles if profile is not None]


def _check_files(
    models: list[str],
    photos: PhotoSource | None,
    outputs: list[Path | None],
    plot: Path | None,
    compare: Path | None,
    overwrite: bool,
) -> None:
    """Refuse before minutes of work what could not be done after them."""
    written = [path for path in outputs if path is not None]
    read = [file for name in models for file in Path(name.strip()).glob("*")]
    read += [photos.root, *(photos.root / name for name in photos.names)] if photos is not None else []
    read += [compare] if compare is not None else []
    check_outputs(read, written)
    for path in written:
        check_target(path, overwrite)
    if plot is not None:
        check_plot(plot)
    if compare is not None and not compare.is_file():
        raise ConfigError(f"{compare} does not exist: expected the --json file of a race (--compare).")


def _write(
    content: dict[str, Any],
    page: str,
    results: list[Result],
    json_path: Path | None,
    markdown: Path | None,
    plot: Path | None,
    overwrite: bool,
) -> None:
    if json_path is not None:
        with write_file(json_path, overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    if markdown is not None:
        with write_file(markdown, overwrite=overwrite) as temporary:
            temporary.write_text(page)
    if plot is not None:
        write_plot(plot, results, overwrite=overwrite)


def _judge(results: list[Result], compare: Path | None, margin: float) -> None:
    """Tell what a reader must know; exit with 1 if nothing was timed or something became slower."""
    noisy = max((result.variation or 0.0 for result in results), default=0.0)
    if noisy > NOISY_VARIATION:
        click.echo(f"warning: rounds vary by up to {noisy:.0%}; something else is using this machine.", err=True)
    if any(result.weights == "random" for result in results):
        click.echo("Baselines have random weights: they say all about speed and nothing about quality.", err=True)
    if all(result.p50_ms is None for result in results):
        raise WavePaintError("nothing could be timed. wp doctor says what is missing.")
    if compare is not None:
        slower = report.find_slowdowns(results, compare, margin)
        for line in slower:
            click.echo(f"slower: {line}", err=True)
        if slower:
            sys.exit(1)
        click.echo(f"nothing is slower than in {compare} by more than {margin:.0%}.", err=True)
