"""wp blend: mix the weights of two checkpoints."""

from pathlib import Path

import click

from wavepaint.cli.grouped_help import GroupedCommand


@click.command(cls=GroupedCommand)
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Checkpoint to write.")
@click.option(
    "--share", type=float, default=0.8, show_default=True, help="Weight of SECOND: 0 gives FIRST, 1 gives SECOND."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing checkpoint.")
def command(first: Path, second: Path, out: Path, share: float, overwrite: bool) -> None:
    """Mix the weights of two checkpoints of one network, where the training of SECOND continued from FIRST.

    Use it to balance a faithful but blurred stage and a sharp stage that invents detail. Nothing is trained.
    """
    from wavepaint.atomic import check_target
    from wavepaint.outputs import check_outputs
    from wavepaint.weights.blending import blend_weights, describe_blend
    from wavepaint.weights.checkpoint import read_checkpoint, save_checkpoint
    from wavepaint.weights.loading import load_strictly

    check_outputs([first, second], [out])
    check_target(out, overwrite=overwrite)
    ends = read_checkpoint(first), read_checkpoint(second)
    model = ends[1].build()
    load_strictly(model, blend_weights(*ends, share), out)
    save_checkpoint(
        out,
        model,
        architecture=ends[1].architecture.name,
        parameters=ends[1].parameters,
        training=describe_blend(*ends, share),
    )
    click.echo(f"{out}: export it with: wp export {out} -o BUNDLE", err=True)
