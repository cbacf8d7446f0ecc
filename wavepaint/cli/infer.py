"""wp infer: fill the hole of a photo."""

import sys
import time
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click
from PIL import Image

from wavepaint.atomic import check_outputs, check_target, write_file
from wavepaint.cli.infer_many import check_files, fill_many, with_pictures
from wavepaint.contract import MASK_THRESHOLD, default_bundle_folder
from wavepaint.errors import ImageError, OutputError
from wavepaint.machine import count_cores
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.engines.registry import ENGINES, PRECISIONS
from wavepaint.runtime.engines.session import Precision
from wavepaint.runtime.filling.memory import DEFAULT_MB
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.scale import MAX_GROWTH
from wavepaint.runtime.filling.strategy import STRATEGIES, Strategy
from wavepaint.runtime.images.encode import check_output, encode_photo, is_written
from wavepaint.runtime.images.photo import ImageSource
from wavepaint.runtime.images.read import MaskFrom, read_photo
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import find_jobs, is_many
from wavepaint.runtime.previews import check_picture, write_pictures

STREAM = "-"

SLOW_PIXELS = 4_000_000
"""From this size on a photo may take seconds, and a terminal is told what goes on."""

MAX_STREAMS = 8
"""Photos filled at once at most, whatever the number of cores: each of them takes memory."""


def _source(argument: str) -> ImageSource:
    if argument != STREAM:
        return Path(argument)
    if sys.stdin is None:
        raise ImageError("standard input is closed. Give a file's name instead of -, or pipe a file in.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise ImageError(f"standard input cannot be read: {error.strerror or error}.") from error


def _output_path(image: str, out: str | None) -> Path | None:
    """Return where the result goes, None for stdout."""
    if out == STREAM or (out is None and image == STREAM):
        return None
    source = Path(image)
    suffix = source.suffix if is_written(source.suffix) else ".png"
    return Path(out) if out is not None else source.with_name(f"{source.stem}_filled{suffix}")


def _check_files(inputs: Iterable[Path], out: Path | None, pictures: list[Path], overwrite: bool) -> None:
    """Refuse, before any work is done, what could not be written after it."""
    paths = [*([out] if out is not None else []), *pictures]
    for path in paths:
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder. Give a file name.")
    check_outputs(inputs, paths)
    for path in paths:
        check_target(path, overwrite)
    for path in pictures:
        check_picture(path)


def _write_stdout(data: bytes) -> None:
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # whoever read it wants no more, which click takes care of
    except OSError as error:
        raise OutputError(f"the result cannot be written to standard output: {error.strerror or error}.") from error


@click.command()
@click.argument("image")
@click.argument("mask", required=False)
@click.option(
    "-o", "--out", help="Result, or the folder of many results. Default: IMAGE with _filled in its name; - is stdout."
)
@click.option("--model", type=click.Path(path_type=Path), help="Bundle. Default: the one that ships with the package.")
@click.option("--overwrite", is_flag=True, help="Replace existing results.")
@click.option("--resume", is_flag=True, help="Many images: pass over those whose result exists.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Many images: write what became of each, as JSON. --resume replaces that of the earlier run.",
)
@click.option("--invert-mask", is_flag=True, help="Black is the hole instead of white.")
@click.option(
    "--mask-threshold",
    type=click.IntRange(1, 255),
    default=MASK_THRESHOLD,
    show_default=True,
    help="Level from which on a pixel of the mask is white.",
)
@click.option(
    "--mask-from",
    type=click.Choice(["luminance", "alpha"]),
    default="luminance",
    show_default=True,
    help="alpha: the transparent pixels of MASK are the hole, and become opaque.",
)
@click.option("--resize-mask", is_flag=True, help="Fit a mask of another size by nearest neighbour.")
@click.option(
    "--dilate",
    type=click.IntRange(0, MAX_GROWTH),
    default=0,
    show_default=True,
    help="Grow the hole by so many pixels, for masks that follow an object too closely.",
)
@click.option(
    "--feather",
    type=click.IntRange(0, MAX_GROWTH),
    default=0,
    show_default=True,
    help="Pixels over which the fill leads over into the photo, in the ring that --dilate adds.",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="auto",
    show_default=True,
    help="whole: the photo at once. crop: each hole with its neighbourhood, thick ones at a lower resolution. tile: "
    "the neighbourhood in overlapping tiles. auto: crops, and tiles for huge holes.",
)
@click.option(
    "--max-memory",
    type=click.IntRange(min=1),
    metavar="MIB",
    help=f"Bound on the memory of the process. Default: {DEFAULT_MB}, or what the photo itself needs.",
)
@click.option(
    "--save-overlay",
    type=click.Path(path_type=Path),
    help="Write the photo with its hole tinted; for many photos a folder.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="Write photo, hole and result side by side; for many photos a folder.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    help="Who computes. auto: the fastest that works here (wp doctor shows them).",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", *PRECISIONS]),
    default="auto",
    show_default=True,
    help="Of the arithmetic, float32 of the weights too. auto: the engine's fastest that was verified.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores.")
def command(
    image: str,
    mask: str | None,
    out: str | None,
    model: Path | None,
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
    save_overlay: Path | None,
    compare: Path | None,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
) -> None:
    """Fill the part of IMAGE that is white in MASK. Either may be - for stdin.

    IMAGE and MASK may be folders: images are paired with masks of the same name (or name_mask, name_mask000) at the
    same place, the tree is kept under --out. IMAGE may also be a pattern in quotes, or a list (.csv or .jsonl with
    image, mask and, if wanted, out); MASK may be one mask for all. Exit status 1 if any failed.
    """
    # Pillow warns from 89 megapixels on; up to its limit, which read_photo reports, such photos are fine.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    # What it says of broken EXIF, this package says in a line of its own.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    options = FillOptions(
        invert_mask=invert_mask,
        mask_threshold=mask_threshold,
        mask_from=mask_from,
        resize_mask=resize_mask,
        dilate=dilate,
        feather=feather,
        strategy=strategy,
    )
    open_inpainter = partial(
        Inpainter, model, engine=engine, precision=precision, threads=threads, max_memory_mb=max_memory
    )
    model_files = list((model or default_bundle_folder()).glob("*"))
    if is_many(image):
        if out is None or out == STREAM:
            raise click.UsageError("Many images need a folder for their results: --out FOLDER.")
        if overwrite and resume:
            raise click.UsageError("--overwrite and --resume contradict each other.")
        jobs = with_pictures(find_jobs(image, mask, Path(out)), Path(out), save_overlay, compare)
        folders = [folder for folder in (Path(out), save_overlay, compare) if folder is not None]
        check_files(jobs, [Path(image), *model_files], folders, report, overwrite=overwrite, resume=resume)
        with open_inpainter(streams=min(threads or count_cores(), MAX_STREAMS)) as inpainter:
            sys.exit(fill_many(inpainter, jobs, options, overwrite=overwrite, resume=resume, report=report))
    if mask is None:
        raise click.UsageError("Missing argument 'MASK': one image needs one mask.")
    if resume or report is not None:
        raise click.UsageError("--resume and --report are for many images: folders, a pattern or a list.")
    if image == STREAM and mask == STREAM:
        raise click.UsageError("only one of IMAGE and MASK can come from stdin.")
    path = _output_path(image, out)
    inputs = [Path(argument) for argument in (image, mask) if argument != STREAM]
    pictures = [picture for picture in (save_overlay, compare) if picture is not None]
    _check_files([*inputs, *model_files], path, pictures, overwrite)
    photo = read_photo(_source(image))
    check_output(photo, path)
    hole = options.read_mask(_source(mask), photo.size)
    width, height = photo.size
    if sys.stderr.isatty() and width * height > SLOW_PIXELS:
        click.echo(f"filling {width}x{height} px ...", err=True)
    with open_inpainter() as inpainter:
        started = time.perf_counter()
        filled = inpainter.fill_photo(photo, hole, options)
        seconds = time.perf_counter() - started
    data = encode_photo(filled, path)
    if path is None:
        _write_stdout(data)
    else:
        with write_file(path, overwrite=overwrite) as temporary:
            temporary.write_bytes(data)
    if save_overlay is not None or compare is not None:
        write_pictures(photo, hole, filled, options, save_overlay, compare, overwrite=overwrite)
    click.echo(
        f"{path or 'stdout'}: filled {hole.mean():.1%} of {width}x{height} px in {seconds:.2f} s "
        f"({inpainter.bundle.manifest.name}, {inpainter.engine})",
        err=True,
    )
