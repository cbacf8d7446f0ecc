"""wp classify: name the classes of photos."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

from wavepaint.cli import model_options
from wavepaint.cli.completion import PATH
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.contract import Precision
from wavepaint.errors import ImageError, printable
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.recognition.classifier import Classifier, Prediction


def _print_predictions(name: str, predictions: list[Prediction], *, is_single: bool) -> None:
    if not is_single:
        click.echo(f"{name}:")
    for prediction in predictions:
        click.echo(f"{prediction.probability:7.1%}  {printable(prediction.label)}")


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp classify photo.jpg --bundle bundles/pets", "Show the five most probable classes of a photo:"),
        ("wp classify *.jpg --bundle bundles/pets --top 1", "Show the best class of many photos:"),
        ("wp classify *.jpg --bundle bundles/pets --json > classes.json", "Write the classes for a program:"),
    ],
)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=PATH)
@model_options.require_bundle("classifier")
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="NUMBER", help="Classes to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print the classes as JSON.")
@model_options.ENGINE
@model_options.PRECISION
@model_options.THREADS
def command(
    images: tuple[Path, ...],
    bundle: Path,
    top: int,
    as_json: bool,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
) -> None:
    """Show the most probable classes of each IMAGE, with their probabilities.

    Images are scaled and normalised as the bundle says. The exit status is 1 if any image could not be read.
    """
    silence_pillow()
    rows: list[dict[str, Any]] = []
    with Classifier(bundle, engine=engine, precision=precision, threads=threads) as classifier:
        for image in images:
            name = printable(image)
            try:
                predictions = classifier.classify(image, top)
            except ImageError as error:
                click.echo(f"error: {error}", err=True)
                rows.append({"image": str(image), "error": str(error)})
                continue
            rows.append({"image": str(image), "classes": [dataclasses.asdict(one) for one in predictions]})
            if not as_json:
                _print_predictions(name, predictions, is_single=len(images) == 1)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    sys.exit(1 if any("error" in row for row in rows) else 0)
