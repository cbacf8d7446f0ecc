"""wp masks: write a fixed evaluation set of photos and masks."""

import sys
from pathlib import Path

import click
from tqdm import tqdm

from wavepaint.atomic import check_outputs
from wavepaint.data.evaluation import write_pairs
from wavepaint.data.masks import ALL_KINDS
from wavepaint.data.sources import open_source


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the set.")
@click.option(
    "--kinds",
    default="thin,medium,thick",
    show_default=True,
    help=f"Comma-separated, of: {', '.join(ALL_KINDS)}; thick@256 is drawn at 256 pixels and scaled.",
)
@click.option("--size", type=int, default=256, show_default=True, help="Side of images and masks in pixels.")
@click.option("--per-image", type=int, default=1, show_default=True, help="Masks for each photo and kind.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of masks, and of the choice of photos.")
@click.option("--count", type=int, help="Take so many photos. Default: all.")
@click.option("--silhouettes", type=click.Path(path_type=Path), help="Folder of cut-outs, for that kind.")
@click.option("--overwrite", is_flag=True, help="Replace a former set.")
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
    """Write a fixed set of photos and masks for evaluation, from PHOTOS (a folder, a .tar, a .zip or STL-10).

    Photos become name.png, scaled and cropped in the middle, their masks name_mask000.png and on, white where the hole
    is: the layout of LaMa's tools. Several kinds have a folder each. The same arguments give the same files.
    """
    check_outputs([photos, *([silhouettes] if silhouettes is not None else [])], [out])
    source = open_source(photos)
    with tqdm(total=count or len(source.names), unit="photo", disable=None, file=sys.stderr) as bar:
        num_written = write_pairs(
            source,
            out,
            [kind.strip() for kind in kinds.split(",")],
            size=size,
            per_image=per_image,
            seed=seed,
            count=count,
            silhouettes=silhouettes,
            overwrite=overwrite,
            on_photo=bar.update,
        )
    click.echo(f"{num_written} photos with their masks in {out}", err=True)
