"""wp segment: find the class of each pixel of a photo."""

import io
from pathlib import Path

import click
import numpy as np

from wavepaint.atomic import check_target, write_file
from wavepaint.cli import model_options
from wavepaint.cli.completion import FILE, PATH
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.cli.progress import SHORT_S, Progress
from wavepaint.contract import Precision
from wavepaint.errors import OutputError, printable
from wavepaint.outputs import check_outputs
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.images.encode import check_output, encode_photo
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.recognition.segmenter import (
    MAX_MAP_CLASSES,
    Segmenter,
    make_class_map,
    make_class_overlay,
)

MOST_SHOWN = 5
"""Classes that the summary names."""


def _check_files(image: Path, bundle: Path, out: Path, overlay: Path | None, *, overwrite: bool) -> None:
    """Refuse files that would fail only after the work."""
    if out.suffix.lower() != ".png":
        raise OutputError(f"{printable(out)}: a class map is a PNG file. Use a name in .png (-o).")
    written = [out, *([overlay] if overlay is not None else [])]
    check_outputs([image, *bundle.glob("*")], written)
    for path in written:
        check_target(path, overwrite)


def _name_class(label: str) -> str:
    return f"class {label}" if label.isdecimal() else printable(label)


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp segment photo.jpg -o map.png --bundle bundles/streets", "Write the class of each pixel as a palette PNG:"),
        (
            "wp segment photo.jpg -o map.png --overlay look.jpg --bundle bundles/streets",
            "Write the photo with its classes tinted, too:",
        ),
        ("wp info bundles/streets", "Show the names of the classes:"),
    ],
)
@click.argument("image", type=PATH)
@click.option(
    "-o",
    "--out",
    type=FILE,
    required=True,
    help="Palette PNG of the photo's size to write. Its pixel values are the numbers of the classes, from 0.",
)
@click.option("--overlay", type=FILE, help="Also write the photo with its classes tinted to this file.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@model_options.require_bundle("segmenter")
@model_options.ENGINE
@model_options.PRECISION
@model_options.THREADS
def command(
    image: Path,
    out: Path,
    overlay: Path | None,
    overwrite: bool,
    bundle: Path,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
) -> None:
    """Write the class of each pixel of IMAGE.

    The photo is scaled and normalised as the bundle says, and the classes are scaled back to its size. Colours are
    those of PASCAL VOC.
    """
    silence_pillow()
    _check_files(image, bundle, out, overlay, overwrite=overwrite)
    with Progress(None, delay_s=SHORT_S) as progress:
        progress.describe("loading the model")
        with Segmenter(bundle, engine=engine, precision=precision, threads=threads) as segmenter:
            if len(segmenter.labels) > MAX_MAP_CLASSES:
                raise OutputError(
                    f"{printable(bundle)} has {len(segmenter.labels)} classes, and a palette PNG {MAX_MAP_CLASSES}. "
                    "Use Segmenter.segment from Python, which returns an array."
                )
            photo = read_photo(image)
            if overlay is not None:
                check_output(Photo(pixels=np.zeros((1, 1, 3), np.uint8)), overlay)
            progress.describe("segmenting")
            classes = segmenter.segment_photo(photo)
            labels = segmenter.labels
        stream = io.BytesIO()
        make_class_map(classes).save(stream, "PNG")
        contents = {out: stream.getvalue()}
        if overlay is not None:
            contents[overlay] = encode_photo(Photo(pixels=make_class_overlay(photo, classes)), overlay)
        for path, content in contents.items():
            with write_file(path, overwrite=overwrite) as temporary:
                temporary.write_bytes(content)
    numbers, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = [f"{counts[i] / classes.size:.1%} {_name_class(labels[numbers[i]])}" for i in order[:MOST_SHOWN]]
    more = f" and {len(order) - MOST_SHOWN} more" if len(order) > MOST_SHOWN else ""
    click.echo(f"{printable(out)}: {', '.join(shown)}{more}", err=True)
