"""wp export: turn a checkpoint into a verified bundle."""

from pathlib import Path

import click

from wavepaint.export.bundle import write_bundle
from wavepaint.models.checkpoint import read_checkpoint


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option("--name", help="Short name in the manifest. Default: the folder's name.")
@click.option("--fp16", is_flag=True, help="Add a float16 model, float32 where float16 does not hold.")
@click.option("--fusion/--no-fusion", default=True, show_default=True, help="Exact rewrites that save arithmetic.")
@click.option("--overwrite", is_flag=True, help="Replace a former bundle.")
def command(checkpoint: Path, out: Path, name: str | None, fp16: bool, fusion: bool, overwrite: bool) -> None:
    """Export CHECKPOINT (.pt, .pth, .ckpt or .safetensors) to ONNX, verify it against PyTorch and pack it."""
    loaded = read_checkpoint(checkpoint)
    bundle = write_bundle(
        loaded,
        out,
        name=name,
        fusion=fusion,
        fp16=fp16,
        overwrite=overwrite,
        on_stage=lambda stage: click.echo(f"{stage} ...", err=True),
    )
    manifest = bundle.manifest
    click.echo(f"{out}: {manifest.architecture}, {manifest.num_parameters / 1e6:.2f} M parameters", err=True)
    for artifact in manifest.artifacts:
        report = manifest.verification[artifact.path]
        lowest = report["min_psnr_hole_db"]
        kept = artifact.details.get("kept_float32")
        click.echo(
            f"  {artifact.path}: {artifact.precision}, {manifest.files[artifact.path]['bytes'] / 1e6:.1f} MB, verified "
            f"in {len(report['cases'])} cases against {report['reference']}: largest error {report['max_error']:.1e}"
            + (f", at least {lowest:.1f} dB inside the hole" if lowest is not None else "")
            + (f"; kept in float32: {', '.join(kept)}" if kept else ""),
            err=True,
        )
