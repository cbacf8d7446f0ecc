"""wp bench: compare models, engines and precisions on this machine."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from wavepaint.atomic import check_target, write_file
from wavepaint.bench import report
from wavepaint.bench.cells import TF32, TORCH_ENGINES, Result
from wavepaint.bench.entrants import NAMES
from wavepaint.bench.gpu_proof import RIVAL, Criterion, judge
from wavepaint.bench.photo_stages import StageTimes, make_stage_rows
from wavepaint.bench.plot import check_plot, write_plot
from wavepaint.bench.profile import PROFILED, make_profile_rows
from wavepaint.bench.quality import MASKS
from wavepaint.bench.race import NOISY_VARIATION
from wavepaint.bench.record import Record
from wavepaint.cli.bench_cells import choose_field
from wavepaint.cli.bench_runs import STEP_LIMIT_S, Options, profile_cells, run_here, run_in_child, time_stages
from wavepaint.cli.completion import FILE, FOLDER, PATH, complete_names
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.progress import Progress
from wavepaint.data.masks import describe_kind
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import ConfigError, WavePaintError
from wavepaint.outputs import check_outputs
from wavepaint.runtime.engines.registry import ENGINES, PRECISIONS
from wavepaint.runtime.engines.session import make_batch

GPU_PROOF = "gpu-proof"


def _parse_numbers(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 256,512.")
    return numbers


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp bench --quick", "Measure little, to see that everything works:"),
        ("wp bench bundles/mine --photos holiday/ --plot mine.png", "Time your own model, and measure its quality:"),
        ("wp bench --json new.json --compare old.json", "Find what became slower since an earlier race:"),
    ],
)
@click.argument("bundles", type=FOLDER, nargs=-1)
@option_group(
    "What to time",
    click.option(
        "--models",
        metavar="LIST",
        shell_complete=complete_names(*NAMES),
        help=f"Models and bundles, separated by commas: {', '.join(NAMES)}, or folders. telea and navier-stokes are "
        "OpenCV's methods (opencv extra). Default: BUNDLES (or default), wavepaint and lama.",
    ),
    click.option(
        "--engines",
        metavar="LIST",
        shell_complete=complete_names(*ENGINES, *TORCH_ENGINES),
        help=f"Engines, separated by commas: {', '.join((*ENGINES, *TORCH_ENGINES))}. Default: the runtime's engines "
        "that suit this machine.",
    ),
    click.option(
        "--precisions",
        metavar="LIST",
        shell_complete=complete_names(*PRECISIONS, TF32),
        help=f"Precisions, separated by commas: {', '.join((*PRECISIONS, TF32))}. Default: all.",
    ),
    click.option(
        "--sizes",
        callback=_parse_numbers,
        metavar="LIST",
        help="Sides of square images in pixels, separated by commas. Default: 256,512; 256 with --quick.",
    ),
    click.option(
        "--batch", callback=_parse_numbers, metavar="LIST", help="Batch sizes, separated by commas. Default: 1."
    ),
    click.option(
        "--threads", type=click.IntRange(min=1), metavar="NUMBER", help="CPU threads. Default: each engine's choice."
    ),
)
@option_group(
    "How long",
    click.option("--quick", is_flag=True, help="Measure less, to check that everything works."),
    click.option(
        "--rounds",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Rounds, which alternate between the cells. Default: 5; 2 with --quick.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Shortest time for each cell in each round. Default: 1; 0.2 with --quick.",
    ),
    click.option(
        "--time-limit",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Start no cell after this time. Cells then run in a child process, which may crash or hang.",
    ),
    click.option(
        "--cell-limit",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Give up on a cell that takes longer than this to open or to time a round. Cells then run in a child "
        f"process. Default for a child process: {STEP_LIMIT_S:g}.",
    ),
)
@option_group(
    "More measurements",
    click.option(
        "--photos",
        type=PATH,
        help="Also measure PSNR and SSIM of models with trained weights, inside medium holes in the photos of this "
        "folder or archive.",
    ),
    click.option("--profile", is_flag=True, help=f"Also show which operators take the time ({', '.join(PROFILED)})."),
)
@option_group(
    "Files",
    click.option("--json", "json_path", type=FILE, help="Write the results to this JSON file."),
    click.option("--markdown", type=FILE, help="Write the results to this Markdown file."),
    click.option("--plot", type=FILE, help="Plot the results to this image file (plot extra)."),
    click.option("--overwrite", is_flag=True, help="Replace existing files."),
    click.option("--resume", is_flag=True, help="Keep the results in the --json file and measure only missing ones."),
    click.option("--retry-failed", is_flag=True, help="Measure failed cells again; needs --resume."),
)
@option_group(
    "Comparison with an earlier race",
    click.option(
        "--compare",
        type=FILE,
        help="The earlier --json file. The exit status is 1 if a cell became slower by more than --margin.",
    ),
    click.option(
        "--margin",
        type=click.FloatRange(min=0),
        default=0.15,
        show_default=True,
        metavar="SHARE",
        help="Increase in latency that --compare allows, as a share of the earlier latency.",
    ),
)
@option_group(
    "GPU proof",
    click.option(
        "--preset",
        type=click.Choice([GPU_PROOF]),
        help="gpu-proof: compare WavePaint's engines with LaMa on this GPU, and judge the results. --models, "
        "--engines, --precisions, --sizes and --batch select some of its cells. See docs/gpu-host.md.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Run small cells on the CPU, to test everything but the GPU; needs --preset."
    ),
)
def command(**values: Any) -> None:
    """Time BUNDLES against the papers' WavePaint and LaMa, in every engine that works here.

    A cell is a model in one engine, precision, size and batch. Each cell is checked before it is timed, and rounds
    alternate between cells. If a cell cannot run, the report gives the reason. WavePaint and LaMa have random weights,
    which are as fast as trained ones; they are exported once, which needs the train extra, and cached. Sizes are
    rounded up to each model's size multiple. Compare results only within one run on one machine.
    """
    options = Options(**values)
    photos = open_source(options.photos) if options.photos is not None else None
    _check_files(options, photos)
    stages: list[StageTimes] = []
    with Progress(None) as progress:
        field = choose_field(options, progress.describe)
        for line in field.missing:
            progress.print_line(line)
        record = _start_record(options, photos, field.missing)
        if options.is_isolated:
            run_in_child(field.cells, options, record, progress.describe)
        else:
            run_here(field.cells, options, record, photos, progress.describe)
            stages = time_stages(field.subjects, record.results, options.threads, progress.describe)
        profiles = profile_cells(field.cells, record.results, options, progress.describe)
    criteria = judge(record.results, is_dry=options.dry_run) if options.preset is not None else []
    record.content |= {
        "splits": [one.as_dict() for one in stages],
        "profiles": [profile.as_dict() for profile in profiles],
        "criteria": [asdict(criterion) for criterion in criteria],
    }
    sections = {
        "Where the time goes for one photo, filled in one piece": make_stage_rows(stages) if stages else [],
        "Where the engine's time goes, by its own profile": make_profile_rows(profiles) if profiles else [],
    }
    _write(options, record, sections, criteria)
    _conclude(options, record.results)


def _check_files(options: Options, photos: PhotoSource | None) -> None:
    """Refuse options and files that would fail only after minutes of work."""
    if options.dry_run and options.preset is None:
        raise click.UsageError("--dry-run needs --preset.")
    if options.resume and options.json_path is None:
        raise click.UsageError("--resume needs the --json file to resume from.")
    if options.retry_failed and not options.resume:
        raise click.UsageError("--retry-failed needs --resume.")
    outputs = (options.json_path, options.markdown, options.plot)
    written = [path for path in outputs if path is not None]
    names = options.models.split(",") if options.models else [str(path) for path in options.bundles]
    read = [file for name in names for file in Path(name.strip()).glob("*")]
    read += [photos.root, *(photos.root / name for name in photos.names)] if photos is not None else []
    read += [options.compare] if options.compare is not None else []
    check_outputs(read, written)
    for path in written:
        check_target(path, options.overwrite or options.resume)
    if options.plot is not None:
        check_plot(options.plot)
    if options.compare is not None:
        if not options.compare.is_file():
            raise ConfigError(f"{options.compare} does not exist: expected the --json file of a race (--compare).")
        report.read_results(options.compare, "--compare")


def _start_record(options: Options, photos: PhotoSource | None, missing: list[str]) -> Record:
    rounds, seconds = options.choose_rounds()
    run = {
        **report.describe_run(),
        "threads": options.threads,
        "rounds": rounds,
        "seconds": seconds,
        "hole_share": float(make_batch(1, 256, 256)[1].mean()),
        "num_photos": len(photos.names) if photos else 0,
        "masks": describe_kind(MASKS),
        "copy_gb_per_s": None,
        "matrix_gmac_per_s": {},
        "missing": missing,
    }
    return Record(options.json_path, run, resume=options.resume, is_dry=options.dry_run)


def _write(
    options: Options, record: Record, sections: dict[str, list[tuple[str, ...]]], criteria: list[Criterion]
) -> None:
    """Print the tables and write the files."""
    results = record.results
    click.echo("\n".join([report.make_table(results, RIVAL), *record.content["missing"]]))
    for title, rows in sections.items():
        if rows:
            click.echo(f"\n{title}:\n{report.align(rows, 3)}")
    if criteria:
        click.echo("")
    for criterion in criteria:
        click.echo(f"{criterion.verdict}: {criterion.wanted}: {criterion.found}")
    if fastest := report.describe_fastest(results, RIVAL):
        click.echo(f"\n{fastest}")
    replaces = options.overwrite or options.resume
    record.save(overwrite=replaces or options.is_isolated)
    if options.markdown is not None:
        page = report.make_markdown(record.content, results, RIVAL, sections, criteria)
        with write_file(options.markdown, overwrite=replaces) as temporary:
            temporary.write_text(page)
    if options.plot is not None:
        write_plot(options.plot, results, overwrite=replaces)


def _conclude(options: Options, results: list[Result]) -> None:
    """Print warnings and the comparison; exit with status 1 if nothing was timed or a cell became slower."""
    noisy = max((result.variation or 0.0 for result in results), default=0.0)
    if noisy > NOISY_VARIATION:
        click.echo(f"warning: rounds vary by up to {noisy:.0%}; something else is using this machine.", err=True)
    if any(result.weights == "random" for result in results):
        click.echo("Baselines have random weights: compare their speed, not their quality.", err=True)
    if all(result.p50_ms is None for result in results):
        raise WavePaintError("nothing could be timed. wp doctor shows what is missing.")
    if options.compare is not None:
        slower = report.find_slowdowns(results, options.compare, options.margin)
        for line in slower:
            click.echo(f"slower: {line}", err=True)
        if slower:
            sys.exit(1)
        click.echo(f"nothing is slower than in {options.compare} by more than {options.margin:.0%}.", err=True)
