"""wp export: turn a checkpoint into a verified bundle."""

from pathlib import Path

import click

from wavepaint.export.bundle import write_bundle
from wavepaint.models.checkpoint import read_checkpoint


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option("--name", help="Short name in the manifest. Default: the folder's name.")
@click.option("--fusion/--no-fusion", default=True, show_default=True, help="Exact rewrites that save arithmetic.")
@click.option("--overwrite", is_flag=True, help="Replace a former bundle.")
def command(checkpoint: Path, out: Path, name: str | None, fusion: bool, overwrite: bool) -> None:
    """Export CHECKPOINT (.pt, .pth, .ckpt or .safetensors) to ONNX, verify it against PyTorch and pack it."""
    loaded = read_checkpoint(checkpoint)
    bundle = write_bundle(
        loaded,
        out,
        name=name,
        fusion=fusion,
        overwrite=overwrite,
        on_stage=lambda stage: click.echo(f"{stage} ...", err=True),
    )
    manifest = bundle.manifest
    report = manifest.verification
    click.echo(
        f"{out}: {manifest.architecture}, {manifest.num_parameters / 1e6:.2f} M parameters, "
        f"{sum(entry['bytes'] for entry in manifest.files.values()) / 1e6:.1f} MB; verified in {len(report['cases'])} "
        f"cases against {report['reference']}: largest error {report['max_error']:.1e}",
        err=True,
    )
