"""wp eval of a classifier or a segmenter, and what both kinds of wp eval print and record."""

from collections.abc import Iterable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from wavepaint.bench.report import align, describe_run
from wavepaint.cli.progress import Progress
from wavepaint.contract import Task
from wavepaint.data.split import SPLIT
from wavepaint.evaluation.held_out import warn_of_training_photos
from wavepaint.evaluation.recognition.cases import open_cases
from wavepaint.evaluation.recognition.measure import recognise, summarise_classes
from wavepaint.evaluation.recognition.recognisers import open_recogniser
from wavepaint.evaluation.recognition.report import make_class_tables, write_recognition_report
from wavepaint.evaluation.report_folder import check_report
from wavepaint.evaluation.subjects import EngineChoice

_FOR_HOLES = (
    "masks", "mask_folder", "size", "silhouettes", "lpips_weights", "fid", "frechet_weights", "ids", "download",
)  # fmt: skip
"""Parameters that only networks that fill holes have."""


def refuse_options_for_holes(task: Task) -> None:
    """Refuse options of the command line that only networks that fill holes have."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _FOR_HOLES and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"{parameter.opts[0]} is for networks that fill holes, and SUBJECT is a network for {task.name}: leave "
                "it out."
            )


def evaluate_classes(
    titles: tuple[str, ...],
    task: Task,
    choice: EngineChoice,
    data: Path,
    *,
    held_out: Path | None,
    seed: int,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Measure classifiers or segmenters."""
    if out is not None:
        check_report(out, [data, *map(Path, titles), *([held_out] if held_out else [])], overwrite=overwrite)
    with ExitStack() as stack:
        opened = [open_recogniser(title, task, choice) for title in titles]
        for one in opened:
            stack.callback(one.close)
        cases = open_cases(task, data, opened[0].labels, held_out)
        for title in titles:
            if (Path(title) / SPLIT).is_file():
                warn_of_training_photos(Path(title), cases.names)
        with Progress(len(cases.names), unit="image") as progress:
            found = recognise(cases, opened, progress.advance)
        summary = summarise_classes(found, opened[0].labels, seed=seed)
        report: dict[str, Any] = {
            **describe_run(),
            "versions": list_versions(),
            "task": task.name,
            "subjects": {one.title: one.describe() for one in opened},
            "cases": cases.describe(),
            **summary,
        }
        if out is not None:
            write_recognition_report(out, report, found, cases, opened[0], overwrite=overwrite)
    print_tables(make_class_tables(summary))


def list_versions() -> dict[str, str]:
    """Return the versions of the imported packages that may change a figure."""
    import sys

    names = {"numpy": "numpy", "PIL": "pillow", "torch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
    return {name: version(name) for module, name in names.items() if module in sys.modules}


def print_tables(tables: Iterable[tuple[str, list[tuple[str, ...]]]]) -> None:
    """Print tables, each under its title."""
    click.echo("\n\n".join(f"{title}\n{align(rows, 1)}" for title, rows in tables))
