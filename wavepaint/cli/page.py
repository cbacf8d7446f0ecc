"""wp page: write the page to paint on as static files."""

import shlex
from pathlib import Path

import click

from wavepaint.cli.completion import FOLDER
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.contract import default_bundle_folder, read_bundle
from wavepaint.outputs import check_outputs
from wavepaint.runtime.service.static_page import write_page


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp page -o site/", "Write the page with the model that ships:"),
        ("wp page -o site/ --bundle bundles/mine", "Write it with a model of your own:"),
        ("wp page -o site/ --overwrite", "Replace it after an update:"),
    ],
)
@click.option("-o", "--out", type=FOLDER, required=True, help="Folder of the page.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier page in this folder.")
@click.option(
    "--bundle",
    "--model",
    "bundle",
    type=FOLDER,
    help="Bundle to fill with, exported with --fp16 --io uint8. Default: the one that ships with the package.",
)
def command(out: Path, overwrite: bool, bundle: Path | None) -> None:
    """Write the page to paint on as static files, for any web host.

    The page fills holes in the browser: photos never leave the machine that opens it. Holes are filled in one piece
    at full resolution, up to 1.5 megapixels with their neighbourhood. For larger ones, use wp paint or wp serve.
    """
    source = bundle or default_bundle_folder()
    check_outputs([source, *source.glob("*")], [out])
    num_bytes = write_page(out, read_bundle(source), overwrite=overwrite)
    click.echo(f"{out}: {num_bytes / 1e6:.1f} MB", err=True)
    click.echo(f"next: {shlex.join(['python', '-m', 'http.server', '-d', str(out)])}", err=True)
