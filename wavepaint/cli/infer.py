"""wp infer: fill the hole of a photo."""

import sys
import time
import warnings
from pathlib import Path

import click
from PIL import Image

from wavepaint.atomic import write_file
from wavepaint.cli.infer_many import fill_many
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import OutputError
from wavepaint.runtime.batch import MaskOptions
from wavepaint.runtime.engines import ENGINES, PRECISIONS, Auto, EngineName
from wavepaint.runtime.image import ImageSource, MaskFrom, encode_photo, read_mask, read_photo
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import find_jobs, is_many
from wavepaint.runtime.session import Precision

STREAM = "-"


def _source(argument: str) -> ImageSource:
    return sys.stdin.buffer.read() if argument == STREAM else Path(argument)


def _output_path(image: str, mask: str, out: str | None, overwrite: bool) -> Path | None:
    """Return where the result goes, None for stdout; refuse before any work is done."""
    if out == STREAM or (out is None and image == STREAM):
        return None
    source = Path(image)
    path = Path(out) if out is not None else source.with_name(f"{source.stem}_filled{source.suffix}")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder. Give a file name.")
    if path.exists():
        if mask != STREAM and Path(mask).exists() and path.samefile(mask):
            raise OutputError(f"{path} is the mask and is not overwritten. Choose another name with --out.")
        if not overwrite:
            raise OutputError(f"{path} exists already. Choose another name or pass --overwrite to replace it.")
    return path


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
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Many images: write what became of each, as JSON."
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
    help="Of the arithmetic. auto: the engine's fastest that did not fail verification.",
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
    if is_many(image):
        if out is None or out == STREAM:
            raise click.UsageError("Many images need a folder for their results: --out FOLDER.")
        if overwrite and resume:
            raise click.UsageError("--overwrite and --resume contradict each other.")
        jobs = find_jobs(image, mask, Path(out))
        masks = MaskOptions(invert=invert_mask, threshold=mask_threshold, mask_from=mask_from, resize=resize_mask)
        with Inpainter(model, engine=engine, precision=precision, threads=threads) as inpainter:
            sys.exit(fill_many(inpainter, jobs, masks, overwrite=overwrite, resume=resume, report=report))
    if mask is None:
        raise click.UsageError("Missing argument 'MASK': one image needs one mask.")
    if resume or report is not None:
        raise click.UsageError("--resume and --report are for many images: folders, a pattern or a list.")
    if image == STREAM and mask == STREAM:
        raise click.UsageError("only one of IMAGE and MASK can come from stdin.")
    path = _output_path(image, mask, out, overwrite)
    photo = read_photo(_source(image))
    hole = read_mask(_source(mask), invert=invert_mask, threshold=mask_threshold, mask_from=mask_from)
    with Inpainter(model, engine=engine, precision=precision, threads=threads) as inpainter:
        started = time.perf_counter()
        filled = inpainter.fill_photo(photo, hole, resize_mask=resize_mask, opaque_hole=mask_from == "alpha")
        seconds = time.perf_counter() - started
    data = encode_photo(filled, path)
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        with write_file(path, overwrite=overwrite) as temporary:
            temporary.write_bytes(data)
    width, height = photo.size
    click.echo(
        f"{path or 'stdout'}: filled {hole.mean():.1%} of {width}x{height} px in {seconds:.2f} s "
        f"({inpainter.bundle.manifest.name}, {inpainter.engine})",
        err=True,
    )
