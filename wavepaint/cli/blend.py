"""wp blend: mix the weights of two checkpoints."""

import shlex
from pathlib import Path

import click

from wavepaint.cli.completion import FILE
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.errors import OutputError, printable

_SUFFIXES = (".pt", ".pth", ".ckpt")
"""Suffixes of PyTorch checkpoints, which this command writes; others would be read as another format, or not at all."""


@click.command(
    cls=GroupedCommand,
    examples=[
        (
            "wp blend runs/first/best.pt runs/fine/best.pt -o between.pt",
            "Take 20% of the first and 80% of the second:",
        ),
        ("wp blend runs/first/best.pt runs/fine/best.pt -o half.pt --share 0.5", "Take half of each:"),
        ("wp export between.pt -o bundles/between", "Export the blend, to fill photos with it:"),
    ],
)
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("-o", "--out", required=True, type=FILE, help="Checkpoint to write: .pt, .pth or .ckpt.")
@click.option(
    "--share",
    type=float,
    default=0.8,
    show_default=True,
    metavar="SHARE",
    help="Share of SECOND, from 0 (the weights of FIRST) to 1 (those of SECOND).",
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

    if out.suffix.lower() not in _SUFFIXES:
        raise OutputError(
            f"{printable(out)}: the blend is a PyTorch checkpoint. Use a name in {', '.join(_SUFFIXES)}; wp export and "
            "wp train read it."
        )
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
    next_command = shlex.join(["wp", "export", str(out), "-o", "BUNDLE"])
    click.echo(f"{printable(out)}: export it with: {printable(next_command)}", err=True)
