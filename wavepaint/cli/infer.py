"""wp infer: fill the holes of photos."""

import sys
from pathlib import Path
from typing import IO

import click

from wavepaint.cli import model_options
from wavepaint.cli.completion import FILE, complete_path, make_path, refuse_stream
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.infer_runs import run_jobs
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.cli.progress import SHORT_S, Progress
from wavepaint.contract import MASK_THRESHOLD, Precision, default_bundle_folder
from wavepaint.errors import ImageError, OutputError
from wavepaint.machine import count_cores
from wavepaint.runtime.batch import check_masks
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.filling.memory import DEFAULT_MB
from wavepaint.runtime.filling.morphology import MAX_GROWTH
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.strategy import STRATEGIES, Strategy
from wavepaint.runtime.images.encode import name_result
from wavepaint.runtime.images.read import MaskFrom
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job, check_jobs
from wavepaint.runtime.pairing import find_jobs, is_batch

STREAM = "-"

MAX_STREAMS = 8
"""Largest number of photos filled at once on any machine, because each takes memory."""


def _open_source(argument: str) -> Path | bytes:
    """Return the path of an image, or the bytes on standard input."""
    if argument != STREAM:
        return Path(argument)
    if sys.stdin is None:
        raise ImageError("standard input is closed. Give a file name instead of -, or pipe a file in.")
    if sys.stdin.isatty():
        raise click.UsageError("- is standard input, and that is a terminal. Give a file name, or pipe a file in.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise ImageError(f"standard input cannot be read: {error.strerror or error}.") from error


def _choose_output(image: str, out: str | None) -> Path | IO[bytes]:
    """Return the path or the stream for one photo's result."""
    if out == STREAM or (out is None and image == STREAM):
        if sys.stdout is None:
            raise OutputError("the result cannot be written to standard output: it is closed.")
        if sys.stdout.isatty():
            raise click.UsageError(
                "The result is an image, and standard output is a terminal. Name a file with --out, or redirect the "
                "output: > result.png."
            )
        return sys.stdout.buffer
    source = Path(image)
    name = f"{source.stem}_filled{source.suffix or '.png'}"
    return make_path(out, is_folder=False) or name_result(source.with_name(name))


def _list_jobs(image: str, mask: str | None, out: str | None, overlay: str | None, comparison: str | None) -> list[Job]:
    """Return the photos to fill: those of a folder, pattern or list, or one."""
    overlays, comparisons = (make_path(text, is_folder=is_batch(image)) for text in (overlay, comparison))
    if is_batch(image):
        if out is None or out == STREAM:
            raise click.UsageError("A batch of photos needs a folder for its results: --out FOLDER.")
        if mask == STREAM:
            raise click.UsageError("- is not supported as the MASK of a batch: name a file or folder.")
        return find_jobs(image, mask, Path(out), overlays=overlays, comparisons=comparisons)
    if mask is None:
        raise click.UsageError("Missing argument 'MASK': one image needs one mask.")
    if image == STREAM and mask == STREAM:
        raise click.UsageError("Only one of IMAGE and MASK can come from standard input.")
    target = _choose_output(image, out)  # first, because it does not wait for standard input
    return [Job(_open_source(image), _open_source(mask), target, overlays, comparisons)]


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp infer photo.jpg mask.png", "Fill the white part of the mask; the result is photo_filled.jpg:"),
        ("wp infer photo.jpg mask.png -o clean.png --dilate 8", "Include a rim of 8 pixels around the mask:"),
        ("wp infer photos/ masks/ -o filled/ --resume", "Fill a folder of photos; continue where it stopped before:"),
    ],
)
@click.argument("image", shell_complete=complete_path)
@click.argument("mask", required=False, shell_complete=complete_path)
@option_group(
    "Result",
    click.option(
        "-o",
        "--out",
        metavar="PATH",
        shell_complete=complete_path,
        help="Result file; for a batch, the folder of the results. - is standard output. Default: beside IMAGE, with "
        "_filled in its name.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace existing results."),
    click.option("--resume", is_flag=True, help="Skip photos whose result exists, to continue a batch."),
    click.option(
        "--compare",
        metavar="PATH",
        shell_complete=complete_path,
        callback=refuse_stream,
        help="Also write photo, hole and result side by side to this file; for a batch, to this folder.",
    ),
    click.option(
        "--save-overlay",
        metavar="PATH",
        shell_complete=complete_path,
        callback=refuse_stream,
        help="Also write the photo with its hole tinted to this file, to check the mask; for a batch, to this folder.",
    ),
    click.option(
        "--report",
        type=FILE,
        help="Also write the result of each photo to this JSON file. --resume replaces the report of the earlier run.",
    ),
)
@option_group(
    "Mask",
    click.option(
        "--dilate",
        type=click.IntRange(0, MAX_GROWTH),
        default=0,
        show_default=True,
        metavar="PIXELS",
        help="Grow the hole in every direction. Use it if a rim of the object remains.",
    ),
    click.option(
        "--feather",
        type=click.IntRange(0, MAX_GROWTH),
        default=0,
        show_default=True,
        metavar="PIXELS",
        help="Width of the transition from fill to photo. It lies in the ring that --dilate adds: choose less than "
        "--dilate.",
    ),
    click.option("--invert-mask", is_flag=True, help="Fill the black part of MASK instead of the white part."),
    click.option(
        "--mask-threshold",
        type=click.IntRange(1, 255),
        default=MASK_THRESHOLD,
        show_default=True,
        metavar="LEVEL",
        help="Lowest brightness in MASK that counts as white.",
    ),
    click.option(
        "--mask-from",
        type=click.Choice(["auto", "luminance", "alpha"]),
        default="auto",
        show_default=True,
        help="What marks the hole. luminance: the white pixels of MASK. alpha: its transparent pixels, which become "
        "opaque in the result. auto: the white pixels, or the paint of a mask in colour or on a transparent layer; "
        "a photograph is refused.",
    ),
    click.option(
        "--resize-mask",
        is_flag=True,
        help="Scale a MASK of another size to the photo, by nearest neighbour. Without this option it is an error.",
    ),
)
@option_group(
    "Large photos",
    click.option(
        "--strategy",
        type=click.Choice(STRATEGIES),
        default="auto",
        show_default=True,
        help="How the photo is cut up. whole: in one piece. crop: each hole with its neighbourhood, thick holes at a "
        "lower resolution. tile: the neighbourhood in overlapping tiles. auto: crops, and tiles for huge holes.",
    ),
    click.option(
        "--max-memory",
        type=click.IntRange(min=1),
        metavar="MIB",
        help=f"Memory limit of the process. Default: {DEFAULT_MB}, or as much as the photo needs.",
    ),
)
@option_group(
    "Model and engine",
    model_options.BUNDLE,
    model_options.ENGINE,
    model_options.PRECISION,
    model_options.THREADS,
)
def command(
    image: str,
    mask: str | None,
    out: str | None,
    bundle: Path | None,
    overwrite: bool,
    resume: bool,
    report: Path | None,
    invert_mask: bool,
    mask_threshold: int,
    mask_from: MaskFrom,
    resize_mask: bool,
    dilate: int,
    feather: int,
    strategy: Strategy,
    max_memory: int | None,
    save_overlay: str | None,
    compare: str | None,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
) -> None:
    """Fill the part of IMAGE that is white in MASK. Either may be - for standard input.

    For a batch of photos, IMAGE and MASK are folders. Each image is paired with the masks of the same name (or
    name_mask, name_mask000) in the same subfolder, and results keep the subfolders under --out. IMAGE may also be a
    pattern in quotes, or a list (.csv or .jsonl with image, mask and optionally out). MASK may be one mask for all
    images. The exit status is 1 if any photo failed.
    """
    silence_pillow()
    options = FillOptions(
        invert_mask=invert_mask,
        mask_threshold=mask_threshold,
        mask_from=mask_from,
        resize_mask=resize_mask,
        dilate=dilate,
        feather=feather,
        strategy=strategy,
    )
    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume contradict each other.")
    jobs = _list_jobs(image, mask, out, save_overlay, compare)
    inputs = [*([] if image == STREAM else [Path(image)]), *(bundle or default_bundle_folder()).glob("*")]
    check_jobs(jobs, inputs, report, overwrite=overwrite, resume=resume)
    if len(jobs) > 1:
        check_masks([job for job in jobs if not (resume and job.is_done)], options)
    with Progress(None, delay_s=SHORT_S) as progress:
        progress.describe("loading the model")
        model = Inpainter(
            bundle,
            engine=engine,
            precision=precision,
            threads=threads,
            max_memory_mb=max_memory,
            streams=min(threads or count_cores(), MAX_STREAMS, len(jobs)),
        )
    with model as inpainter:
        sys.exit(run_jobs(inpainter, jobs, options, overwrite=overwrite, resume=resume, report=report))
