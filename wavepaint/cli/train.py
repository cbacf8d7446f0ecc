"""wp train: train an inpainting network on a folder of photos."""

import dataclasses
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click
from tqdm import tqdm

from wavepaint.training.config import RECIPES, TrainConfig, get_recipe
from wavepaint.training.loop import BEST, EpochReport, Trainer


class _ConsoleReporter:
    """Progress on stderr: a bar for the steps, a line an epoch."""

    bar: "tqdm[None]"

    def on_start(
        self, config: TrainConfig, *, num_train: int, num_val: int, device: str, precision: str, step: int
    ) -> None:
        click.echo(
            f"training {config.architecture} ({config.recipe}) on {num_train} photos, validating on {num_val}; "
            f"{device}, {precision}, {config.steps} steps of {config.batch_size} crops of {config.crop_size} px",
            err=True,
        )
        self.bar = tqdm(total=config.steps, initial=step, unit="step", mininterval=1, file=sys.stderr)

    def on_step(self, step: int, loss: float) -> None:
        self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self.bar.update()

    def on_epoch(self, report: EpochReport) -> None:
        self.bar.write(
            f"epoch {report.epoch}: loss {report.loss:.4f}, validation {report.val_psnr_db:.2f} dB and SSIM "
            f"{report.val_ssim:.4f} inside the hole, {report.images_per_s:.1f} images/s"
            + (" (best)" if report.best else ""),
            file=sys.stderr,
        )


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--val-data", type=click.Path(path_type=Path), help="Validation photos. Default: a share of DATA.")
@click.option(
    "--recipe", type=click.Choice(list(RECIPES)), default="default", show_default=True, help="Where to begin."
)
@click.option("--steps", type=int, help="Optimizer steps in all.")
@click.option("--steps-per-epoch", type=int, help="Steps between validations.")
@click.option("--batch-size", type=int, help="Crops a step.")
@click.option("--crop-size", type=int, help="Side of the crops in pixels.")
@click.option("--min-scale", type=float, help="Smallest scale of a photo before cropping.")
@click.option("--max-scale", type=float, help="Largest scale of a photo before cropping.")
@click.option("--masks", help="Comma-separated mask kinds: thin, medium, thick.")
@click.option("--learning-rate", type=float, help="Peak learning rate of AdamW.")
@click.option("--ssim-weight", type=float, help="Weight of 1 - SSIM.")
@click.option("--mae-weight", type=float, help="Weight of the mean absolute error.")
@click.option("--hole-l1-weight", type=float, help="Weight of the mean absolute error inside the hole.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bf16"]), help="Autocast type.")
@click.option("--seed", type=int, help="Seed of weights, crops and masks.")
@click.option("--workers", type=int, help="Loader processes.")
@click.option("--val-size", type=int, help="Side of the validation images in pixels.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: PyTorch's choice.")
@click.option("--device", help="For example cpu or cuda:0. Default: a GPU if there is one.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
def command(
    data: Path,
    out: Path,
    val_data: Path | None,
    recipe: str,
    masks: str | None,
    threads: int | None,
    device: str | None,
    resume: bool,
    **overrides: Any,
) -> None:
    """Train an inpainting network on the photos below the folder DATA.

    Leaves last.pt (to resume), best.pt (to export), log.jsonl and a sample picture an epoch in the run's folder.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    changed = {name: value for name, value in overrides.items() if value is not None}
    if masks is not None:
        changed["masks"] = tuple(kind.strip() for kind in masks.split(","))
    config = dataclasses.replace(get_recipe(recipe), **changed)
    trainer = Trainer(config, data, out, val_data=val_data, resume=resume, device=device)

    stop_requested = False

    def request_stop(number: int, frame: FrameType | None) -> None:
        nonlocal stop_requested
        stop_requested = True

    former = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    reporter = _ConsoleReporter()
    try:
        finished = trainer.run(reporter, lambda: stop_requested)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if hasattr(reporter, "bar"):
            reporter.bar.close()
    if finished:
        click.echo(f"done: export it with: wp export {out / BEST} -o BUNDLE", err=True)
    else:
        click.echo(f"stopped at step {trainer.step} and saved. Go on with the same command and --resume.", err=True)
        sys.exit(130)
