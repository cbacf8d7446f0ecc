"""wp masks: write a fixed evaluation set of photos and masks."""

from pathlib import Path

import click

from wavepaint.cli.completion import FOLDER, PATH, complete_names
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.cli.progress import Progress
from wavepaint.data.evaluation import write_evaluation_set
from wavepaint.data.masks import ALL_KINDS
from wavepaint.data.sources import open_source
from wavepaint.outputs import check_outputs


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp masks photos/ -o evaluation/", "Write all photos at 256x256 with a thin, a medium and a thick mask each:"),
        ("wp masks photos/ -o evaluation/ --kinds medium --count 100", "Write 100 photos with medium masks only:"),
        ("wp infer evaluation/medium -o filled/", "Fill the photos of a set that has several kinds:"),
    ],
)
@click.argument("photos", type=PATH)
@click.option("-o", "--out", required=True, type=FOLDER, help="New folder for the set.")
@click.option(
    "--kinds",
    default="thin,medium,thick",
    show_default=True,
    metavar="KINDS",
    shell_complete=complete_names(*ALL_KINDS),
    help=f"Mask kinds, separated by commas: {', '.join(ALL_KINDS)}. thick@256 is drawn at 256 pixels and scaled.",
)
@click.option("--count", type=int, metavar="NUMBER", help="Photos to write, chosen at random. Default: all.")
@click.option(
    "--size", type=int, default=256, show_default=True, metavar="PIXELS", help="Side of the images and masks."
)
@click.option(
    "--per-image", type=int, default=1, show_default=True, metavar="NUMBER", help="Masks for each photo and kind."
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="NUMBER",
    help="Start of the random choices: masks, and the photos of --count. The same seed gives the same files.",
)
@click.option(
    "--silhouettes",
    type=FOLDER,
    help="Folder of cut-outs, transparent around the object or white on black, for the mask kind silhouettes.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing set.")
def command(
    photos: Path,
    out: Path,
    kinds: str,
    size: int,
    per_image: int,
    seed: int,
    count: int | None,
    silhouettes: Path | None,
    overwrite: bool,
) -> None:
    """Write a fixed set of photos and masks for evaluation.

    PHOTOS is a folder, a tar or zip archive, or an STL-10 binary file. Each photo is scaled, cropped in the middle and
    saved as name.png. Its masks, with white holes, are name_mask000.png and so on, as LaMa's tools expect. If there are
    several kinds, each gets a folder. The same arguments give the same files.

    To mark what to fill in your own photos, see wp mask.
    """
    check_outputs([photos, *([silhouettes] if silhouettes is not None else [])], [out])
    source = open_source(photos)
    with Progress(count or len(source.names), unit="photo") as progress:
        num_written = write_evaluation_set(
            source,
            out,
            [kind.strip() for kind in kinds.split(",")],
            size=size,
            per_image=per_image,
            seed=seed,
            count=count,
            silhouettes=silhouettes,
            overwrite=overwrite,
            on_photo=progress.advance,
        )
    photos_text = "1 photo with its" if num_written == 1 else f"{num_written} photos with their"
    click.echo(f"wrote {photos_text} masks to {out}", err=True)
