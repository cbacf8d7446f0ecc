"""wp train: train an inpainting network on photos."""

import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click
from tqdm import tqdm

from wavepaint.atomic import check_outputs
from wavepaint.cli.train_flags import add_flags, collect, parse_hyper_parameters
from wavepaint.training.config import TrainConfig
from wavepaint.training.recipes import RECIPES, get_recipe
from wavepaint.training.toml import read_toml, write_toml

if TYPE_CHECKING:
    from wavepaint.training.loop import RunFacts
    from wavepaint.training.record import EpochReport


class _ConsoleReporter:
    """Progress on stderr: a bar for the steps, a line an epoch."""

    bar: "tqdm[None] | None" = None

    def on_start(self, config: TrainConfig, facts: "RunFacts") -> None:
        processes = f", {facts.world_size} processes" if facts.world_size > 1 else ""
        click.echo(
            f"training {config.architecture} ({config.recipe}) on {facts.num_train} photos, validating on "
            f"{facts.num_val}; {facts.device}{processes}, {facts.precision}, {facts.total_steps} steps of "
            f"{config.optimization.batch_size} crops of {config.data.crop_size} px",
            err=True,
        )
        self.bar = tqdm(total=facts.total_steps, initial=facts.step, unit="step", mininterval=1, file=sys.stderr)

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        assert self.bar is not None
        self.bar.set_postfix(loss=f"{loss:.4f}", images_per_s=f"{images_per_s:.1f}", refresh=False)
        self.bar.update(step - self.bar.n)

    def on_epoch(self, report: "EpochReport") -> None:
        assert self.bar is not None
        lpips = "" if report.val_lpips is None else f", LPIPS {report.val_lpips:.4f}"
        waiting = f", {report.loader_share:.0%} of it waiting for photos" if report.loader_share > 0.1 else ""
        self.bar.write(
            f"epoch {report.epoch}: loss {report.loss:.4f}, validation {report.val_psnr_db:.2f} dB, SSIM "
            f"{report.val_ssim:.4f}{lpips} inside the hole, {report.images_per_s:.1f} images/s{waiting}"
            + (" (best)" if report.best else ""),
            file=sys.stderr,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


class _Stop:
    """Whether Ctrl-C or a job scheduler has asked the run to stop; within it these do nothing else."""

    requested = False

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)


def _resolve(recipe: str | None, config_file: Path | None, changes: dict[str, Any]) -> TrainConfig:
    """Return the recipe, changed by the file, changed by the flags."""
    values = read_toml(config_file) if config_file else {}
    config = get_recipe(recipe or values.get("recipe", "default"))
    if recipe:
        values.pop("recipe", None)
    return config.change(values).change(changes)


@click.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--val-data", type=click.Path(path_type=Path), help="Validation photos. Default: a share of DATA.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), help="Where to begin.  [default: default]")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file of settings.")
@click.option("--show-config", is_flag=True, help="Print the settings as TOML, and stop.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--init-from", type=click.Path(path_type=Path), help="Checkpoint to begin from.")
@click.option("--architecture", help="Network, by its name in wp info.")
@click.option("--hyper-parameter", "hyper_parameters", multiple=True, metavar="NAME=VALUE", help="Of the network.")
@click.option("--seed", type=int, help="Seed of weights, split, crops and masks.")
@click.option("--lpips-weights", type=click.Path(path_type=Path), help="File or folder of LPIPS's weights.")
@click.option(
    "--download-weights",
    "download",
    is_flag=True,
    help="Fetch LPIPS's weights from their authors if they are not here.",
)
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard as well.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: PyTorch's choice.")
@click.option("--device", help="For example cpu or cuda:0. Default: a GPU if there is one.")
@add_flags
def command(
    data: Path | None,
    out: Path | None,
    val_data: Path | None,
    recipe: str | None,
    config_file: Path | None,
    show_config: bool,
    resume: bool,
    init_from: Path | None,
    architecture: str | None,
    hyper_parameters: tuple[str, ...],
    seed: int | None,
    lpips_weights: Path | None,
    download: bool,
    tensorboard: bool,
    threads: int | None,
    device: str | None,
    **flags: Any,
) -> None:
    """Train an inpainting network on DATA: a folder of photos, a tar or zip archive, or STL-10's binary file.

    Leaves last.pt (to resume), best.pt (to export), split.json, log.jsonl and a sample picture an epoch in the run's
    folder. With torchrun in front (torchrun --nproc-per-node 4 -m wavepaint train ...) as many processes share the
    work.
    """
    changes: dict[str, Any] = collect(flags)
    named = {"architecture": architecture, "seed": seed, "hyper_parameters": parse_hyper_parameters(hyper_parameters)}
    changes |= {name: value for name, value in named.items() if value is not None and value != {}}
    config = _resolve(recipe, config_file, changes)
    if show_config:
        click.echo(write_toml(config), nl=False)
        return
    if data is None or out is None:
        raise click.UsageError("DATA (the photos) and --out (the run's folder) are needed to train.")
    if resume and init_from:
        raise click.UsageError("--resume goes on with the run's own weights: leave --init-from out.")

    import torch

    from wavepaint.training.distributed import DistributedContext, join_distributed, leave_distributed
    from wavepaint.training.loop import BEST, LAST, SPLIT, Trainer
    from wavepaint.training.record import LOG

    def train(world: DistributedContext) -> tuple[bool, int]:
        """Return whether the run is over, and its step. What it leaves behind is freed before the processes part."""
        trainer = Trainer(
            config,
            data,
            out,
            val_data=val_data,
            resume=resume,
            init_from=init_from,
            device=device,
            lpips_weights=lpips_weights,
            download=download,
            tensorboard=tensorboard,
            world=world,
        )
        with _Stop() as stop, _ConsoleReporter() as reporter:
            finished = trainer.run(reporter, lambda: stop.requested)
        trainer.close()
        return finished, trainer.step

    read = [path for path in (data, val_data, init_from, config_file, lpips_weights) if path is not None]
    check_outputs(read, [out / name for name in (LAST, BEST, SPLIT, LOG)])
    if threads:
        torch.set_num_threads(threads)
    world = join_distributed(device)
    if not world.is_first:
        warnings.simplefilter("ignore")  # the first process says what there is to say
    try:
        finished, step = train(world)
    finally:
        leave_distributed()
    if finished and world.is_first:
        click.echo(f"done: export it with: wp export {out / BEST} -o BUNDLE", err=True)
    if not finished:
        if world.is_first:
            click.echo(f"stopped at step {step} and saved. Go on with the same command and --resume.", err=True)
        sys.exit(130)
