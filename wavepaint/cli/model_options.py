"""Options that choose the model and how it runs, for the commands that fill photos."""

from collections.abc import Callable

import click
from click.decorators import FC

from wavepaint.cli.completion import FOLDER
from wavepaint.runtime.engines.registry import ENGINES, PRECISIONS

BUNDLE = click.option(
    "--bundle",
    "--model",
    "bundle",
    type=FOLDER,
    help="Bundle to run: a model folder, as wp export writes it. Default: the one that ships with the package.",
)


def require_bundle(kind: str) -> Callable[[FC], FC]:
    """Return the option for a bundle of a kind of which none ships."""
    return click.option(
        "--bundle",
        "--model",
        "bundle",
        type=FOLDER,
        required=True,
        help=f"Bundle of a {kind}: a model folder, as wp export writes it.",
    )


ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="Engine that runs the model. auto: the fastest that works here (wp doctor lists them).",
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["auto", *PRECISIONS]),
    default="auto",
    show_default=True,
    help="Arithmetic precision; float32 also selects float32 weights. auto: the engine's fastest verified precision.",
)
THREADS = click.option(
    "--threads", type=click.IntRange(min=1), metavar="NUMBER", help="CPU threads. Default: all cores."
)
