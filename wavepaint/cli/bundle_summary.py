"""The lines that wp export and wp import print about a new bundle."""

import click

from wavepaint.contract import Bundle
from wavepaint.errors import printable
from wavepaint.export.verify import describe_report
from wavepaint.runtime.engines.registry import find_obstacle


def print_summary(bundle: Bundle, out: object) -> None:
    """Print what a new bundle contains, and how its models were verified."""
    manifest = bundle.manifest
    click.echo(f"{printable(out)}: {manifest.architecture}, {manifest.num_parameters / 1e6:.2f} M parameters", err=True)
    for artifact in manifest.artifacts:
        size = manifest.files[artifact.path]["bytes"] / 1e6
        kept = artifact.details.get("kept_float32")
        click.echo(
            f"  {artifact.path}: {artifact.kind} {artifact.precision}, {size:.1f} MB"
            + (f"; kept in float32: {', '.join(kept)}" if kept else ""),
            err=True,
        )
        reports = manifest.verification.get(artifact.path, [])
        for report in reports:
            click.echo(f"    {describe_report(report)}", err=True)
        if not reports:
            obstacle = find_obstacle(bundle.get_model(artifact))
            click.echo(f"    not verified: {obstacle or 'run wp verify'}", err=True)
