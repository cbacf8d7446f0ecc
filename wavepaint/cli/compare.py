"""wp compare: a reader study in a page, and the score of its answers."""

import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from click.core import ParameterSource

from wavepaint.atomic import check_target, write_file
from wavepaint.cli.completion import FILE, PATH, complete_path, refuse_stream
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.cli.progress import SHORT_S, Progress
from wavepaint.errors import ConfigError, OutputError, printable
from wavepaint.outputs import check_outputs
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job
from wavepaint.study.page_file import QUESTION, StudyOptions, name_methods, write_study
from wavepaint.study.scores import format_scores, read_answers, score_answers
from wavepaint.study.trials import find_results, find_trial_jobs, is_bundle, load_trials


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp compare ours/ lama/ --images evaluation/medium -o study.html", "Compare two folders of results:"),
        (
            "wp compare bundles/mine bundles/lama --images photos/ --masks masks/ --count 40 -o study.html",
            "Fill 40 photos with two bundles, and compare the fills:",
        ),
        ("wp compare --score anna.csv ben.csv", "Score the answers of two participants:"),
    ],
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="A B | ANSWERS...")
@option_group(
    "Study",
    click.option(
        "--images",
        metavar="IMAGES",
        shell_complete=complete_path,
        callback=refuse_stream,
        help="The originals: a folder, with their masks unless --masks names another, a pattern in quotes, or a list "
        "as for wp infer.",
    ),
    click.option(
        "--masks",
        metavar="MASKS",
        shell_complete=complete_path,
        callback=refuse_stream,
        help="Folder of masks, or one for all.",
    ),
    click.option(
        "--count", type=click.IntRange(min=1), metavar="NUMBER", help="Images, chosen at random. Default: all."
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="NUMBER",
        help="Start of the random choices: the images of --count, and each participant's order and sides.",
    ),
)
@option_group(
    "Page",
    click.option(
        "--question", default=QUESTION, show_default=True, metavar="QUESTION", help="What participants decide."
    ),
    click.option(
        "--names",
        metavar="A,B",
        help="Names of the methods in the answers; the page does not show them. Default: those of the folders.",
    ),
    click.option(
        "--max-side",
        type=click.IntRange(64, 4096),
        default=1024,
        show_default=True,
        metavar="PIXELS",
        help="Longest side of the pictures; larger ones are scaled down.",
    ),
)
@option_group("Answers", click.option("--score", is_flag=True, help="Score the ANSWERS, the CSV files of a page."))
@option_group(
    "Result",
    click.option("-o", "--out", type=FILE, help="The page, an HTML file. With --score: also write the score as JSON."),
    click.option("--overwrite", is_flag=True, help="Replace an existing file."),
)
def command(
    paths: tuple[Path, ...],
    images: str | None,
    masks: str | None,
    count: int | None,
    seed: int,
    question: str,
    names: str | None,
    max_side: int,
    score: bool,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Let people compare the fills of two methods, A and B.

    A and B are folders of results that have the names of the images, or bundles, which fill the images. The page is
    one HTML file that works without a network: it shows the original with its hole marked between both fills, on
    random sides and in random order, and people choose one. Answers stay in their browser, and are downloaded as CSV.

    With --score, the arguments are those CSV files: the share that prefers A with a 95% confidence interval, a
    two-sided p value, and tallies by participant and by image.
    """
    if score:
        _refuse_study_options()
        _score(paths, out, overwrite=overwrite)
        return
    if len(paths) != 2:
        raise click.UsageError(f"Expected two methods, A and B, instead of {len(paths)}; or answers after --score.")
    if images is None or out is None:
        raise click.UsageError("A study needs --images (the originals) and --out (the page).")
    silence_pillow()
    options = StudyOptions(
        methods=name_methods(*paths, parse_names(names)), question=question, seed=seed, max_side=max_side
    )
    _check_page(out, overwrite)
    jobs = find_trial_jobs(images, masks, count=count, seed=seed)
    _write(paths, jobs, options, out, overwrite=overwrite)


def parse_names(text: str | None) -> list[str]:
    """Return the two names of ``--names``; none if it is not given.

    Raises:
        ConfigError: There are not two different names.
    """
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if text is not None and (len(names) != 2 or not all(names) or names[0] == names[1]):
        raise ConfigError(f"--names is {text!r}: expected two different names with a comma between, as in ours,LaMa.")
    return names


def _check_page(out: Path, overwrite: bool) -> None:
    if out.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{printable(out)} is not a page: expected a name that ends in .html (--out).")
    check_target(out, overwrite)


def _write(methods: Sequence[Path], jobs: Sequence[Job], options: StudyOptions, out: Path, *, overwrite: bool) -> None:
    if methods[0].resolve() == methods[1].resolve():
        raise ConfigError(f"A and B are the same, {printable(methods[0])}: expected two methods.")
    read = [path for job in jobs for path in job.inputs]
    results = [None if is_bundle(folder) else find_results(folder, jobs) for folder in methods]
    check_outputs([*methods, *read, *(path for found in results if found for path in found)], [out])
    with ExitStack() as stack, Progress(len(jobs), unit="image", delay_s=SHORT_S) as progress:
        fills = [
            stack.enter_context(Inpainter(folder)) if found is None else found
            for folder, found in zip(methods, results, strict=True)
        ]
        trials = load_trials(jobs, fills, on_trial=progress.advance)
        num_trials = write_study(out, trials, options, overwrite=overwrite)
    unit = "image" if num_trials == 1 else "images"
    first, second = options.methods
    click.echo(f"{out}: {num_trials} {unit}, A is {first}, B is {second}, {out.stat().st_size / 1e6:.1f} MB", err=True)
    click.echo(f"next: {shlex.join(['wp', 'compare', '--score', 'ANSWERS.csv'])}", err=True)


def _refuse_study_options() -> None:
    """Refuse options of a study together with ``--score``."""
    context = click.get_current_context()
    for name in ("images", "masks", "count", "seed", "question", "names", "max_side"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} belongs to a study, and has no effect with --score.")


def _score(paths: Sequence[Path], out: Path | None, *, overwrite: bool) -> None:
    if out is not None:
        check_outputs(paths, [out])
        check_target(out, overwrite)
    scores = score_answers(read_answers(paths))
    if out is not None:
        with write_file(out, overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    click.echo(format_scores(scores))
