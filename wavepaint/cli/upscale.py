"""wp upscale: double the size of a photo."""

from dataclasses import replace
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
from wavepaint.errors import printable
from wavepaint.outputs import check_outputs
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.images.encode import check_output, encode_photo
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.upscaler import FACTOR, Upscaler


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp upscale photo.jpg -o large.png --bundle bundles/sharp", "Double the size of a photo:"),
        (
            "wp upscale photo.jpg -o large.jpg --bundle bundles/sharp --overwrite",
            "Write a JPEG, and replace an existing one:",
        ),
        ("wp info bundles/sharp", "Describe the model:"),
    ],
)
@click.argument("image", type=PATH)
@click.option("-o", "--out", type=FILE, required=True, help="File to write; its ending names the format.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@model_options.require_bundle("network for super-resolution")
@model_options.ENGINE
@model_options.PRECISION
@model_options.THREADS
def command(
    image: Path,
    out: Path,
    overwrite: bool,
    bundle: Path,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
) -> None:
    """Write IMAGE at twice its width and height, in 8 bits.

    Large photos are computed in overlapping tiles.
    """
    silence_pillow()
    check_outputs([image, *bundle.glob("*")], [out])
    check_target(out, overwrite)
    with Progress(None, delay_s=SHORT_S) as progress:
        progress.describe("loading the model")
        with Upscaler(bundle, engine=engine, precision=precision, threads=threads) as upscaler:
            photo = read_photo(image)
            width, height = photo.size
            options = dict(photo.save_options)
            if photo.num_colours == 1:
                options.pop("icc_profile", None)  # a profile for grey does not fit the result, which is RGB
            empty = np.broadcast_to(np.uint8(0), (FACTOR * height, FACTOR * width, 3))
            larger = Photo(pixels=empty, save_options=options)
            check_output(larger, out)
            progress.describe("upscaling")
            larger = replace(larger, pixels=upscaler.upscale_photo(photo))
        content = encode_photo(larger, out)
        with write_file(out, overwrite=overwrite) as temporary:
            temporary.write_bytes(content)
    click.echo(f"{printable(out)}: {larger.size[0]}x{larger.size[1]} pixels", err=True)
