"""wp masks: write a fixed evaluation set of photos and masks."""

from pathlib import Path

import click

from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.cli.progress import Progress
from wavepaint.data.evaluation import write_evaluation_set
from wavepaint.data.masks import ALL_KINDS
from wavepaint.data.sources import open_source
from wavepaint.outputs import check_outputs


@click.command(cls=GroupedCommand)
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the set.")
@click.option(
    "--kinds",
    default="thin,medium,thick",
    show_default=True,
    help=f"Comma-separated mask kinds: {', '.join(ALL_KINDS)}. thick@256 is drawn at 256 pixels and scaled.",
)
@click.option("--size", type=int, default=256, show_default=True, help="Side of images and masks in pixels.")
@click.option("--per-image", type=int, default=1, show_default=True, help="Masks per photo and kind.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the masks and of the choice of photos.")
@click.option("--count", type=int, help="Number of photos. Default: all.")
@click.option(
    "--silhouettes", type=click.Path(path_type=Path), help='Folder of cut-outs for the mask kind "silhouettes".'
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
    click.echo(f"wrote {num_written} photos with their masks to {out}", err=True)
