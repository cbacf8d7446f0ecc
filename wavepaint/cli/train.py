"""wp train: train an inpainting network on photos."""

import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click

from wavepaint.cli.completion import FILE, FOLDER, PATH, complete_names
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.progress import Progress
from wavepaint.cli.train_flags import add_flags, collect, parse_hyper_parameters
from wavepaint.outputs import check_outputs
from wavepaint.training.config import TrainConfig
from wavepaint.training.config_file import format_toml, read_toml
from wavepaint.training.recipes import ARCHITECTURES, RECIPES, get_recipe

if TYPE_CHECKING:
    from wavepaint.training.reporter import EpochReport, RunFacts


class _ConsoleReporter:
    """Progress on stderr: a bar for the steps and a line per epoch."""

    _progress: Progress | None = None

    def on_start(self, config: TrainConfig, facts: "RunFacts") -> None:
        processes = f", {facts.num_processes} processes" if facts.num_processes > 1 else ""
        click.echo(
            f"training {config.architecture} ({config.recipe}) on {facts.num_train} photos, validating on "
            f"{facts.num_val}; {facts.device}{processes}, {facts.precision}, {facts.total_steps} steps of "
            f"{config.optimization.batch_size} crops of {config.data.crop_size} px",
            err=True,
        )
        self._progress = Progress(facts.total_steps, unit="step", initial=facts.step)

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        assert self._progress is not None
        self._progress.show_values(loss=f"{loss:.4f}", images_per_s=f"{images_per_s:.1f}")
        self._progress.move_to(step)

    def on_epoch(self, report: "EpochReport") -> None:
        assert self._progress is not None
        lpips = "" if report.val_lpips is None else f", LPIPS {report.val_lpips:.4f}"
        waiting = f" ({report.loader_share:.0%} of the time waiting for photos)" if report.loader_share > 0.1 else ""
        self._progress.print_line(
            f"epoch {report.epoch}: loss {report.loss:.4f}, validation {report.val_psnr_db:.2f} dB, SSIM "
            f"{report.val_ssim:.4f}{lpips} inside the hole, {report.images_per_s:.1f} images/s{waiting}"
            + (" (best)" if report.best else "")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.close()


class _StopSignals:
    """A context in which Ctrl-C and SIGTERM, which job schedulers send, only request a stop."""

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
    """Return the recipe, changed first by the configuration file and then by the flags."""
    values = read_toml(config_file) if config_file else {}
    config = get_recipe(recipe or values.get("recipe", "default"))
    if recipe:
        values.pop("recipe", None)
    return config.change(values).change(changes)


@click.command(
    cls=GroupedCommand,
    essential=("out", "init_from", "optimization__steps", "resume", "val_data", "download"),
    examples=[
        ("wp train photos/ -o runs/mine", "Train the default network on a folder of photos:"),
        ("wp train photos/ -o runs/mine --resume", "Continue that run after Ctrl-C or a power cut:"),
        ("wp train --recipe lama-places --show-config", "Print every setting of a recipe as TOML, and train nothing:"),
    ],
)
@click.argument("data", type=PATH, required=False)
@option_group(
    "Run",
    click.option(
        "-o",
        "--out",
        type=FOLDER,
        help="Folder of the run, outside DATA: checkpoints, log and sample pictures.",
    ),
    click.option(
        "--init-from",
        type=FILE,
        help="Checkpoint to start from, of the same network or of a smaller one. Default: random weights.",
    ),
    click.option("--resume", is_flag=True, help="Continue the run in --out exactly where it stopped."),
    click.option(
        "--val-data", type=PATH, help="Photos to validate on, of the same kinds as DATA. Default: a share of DATA."
    ),
    click.option(
        "--recipe",
        type=click.Choice(list(RECIPES)),
        metavar="NAME",
        help=f"Complete configuration to start from: {', '.join(RECIPES)}. The defaults below are those of default; "
        "--recipe NAME --show-config prints others.  [default: default]",
    ),
    click.option(
        "--config",
        "config_file",
        type=FILE,
        help="TOML file with settings, which replace the recipe's. The headings below name its tables, such as [data]. "
        "Flags replace its settings.",
    ),
    click.option("--show-config", is_flag=True, help="Print all settings as TOML, for --config, and exit."),
    click.option(
        "--device",
        shell_complete=complete_names("cpu", "cuda"),
        metavar="NAME",
        help="Where to train: cpu, cuda (an NVIDIA GPU), or cuda:1 for the second GPU. Default: a GPU if there is one. "
        "To use several GPUs, start with torchrun: torchrun --nproc-per-node 4 -m wavepaint train ...",
    ),
    click.option(
        "--threads", type=click.IntRange(min=1), metavar="NUMBER", help="CPU threads. Default: PyTorch's choice."
    ),
    click.option(
        "--seed",
        type=int,
        metavar="NUMBER",
        help="Start of all random choices: weights, held-out photos, crops and masks. A run with the same seed repeats "
        "them.  [default: 0]",
    ),
    click.option(
        "--tensorboard", is_flag=True, help="Also write TensorBoard events to --out (needs the tensorboard extra)."
    ),
)
@option_group(
    "Network",
    click.option(
        "--architecture",
        shell_complete=complete_names(*ARCHITECTURES),
        metavar="NAME",
        help=f"Network to train: {', '.join(ARCHITECTURES)}. Another one than the recipe's starts without the recipe's "
        "hyper-parameters.",
    ),
    click.option(
        "--hyper-parameter",
        "hyper_parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Setting of the network, such as num_modules=4; repeatable. --show-config prints those of the recipe.",
    ),
)
@option_group(
    "LPIPS weights",
    click.option(
        "--download-weights",
        "download",
        is_flag=True,
        help="Download the weights of LPIPS, which recipes with a perceptual loss need, if they are missing.",
    ),
    click.option(
        "--lpips-weights",
        type=PATH,
        help="File or folder with the weights of LPIPS. Default: the cache folder, then the variable WAVEPAINT_LPIPS.",
    ),
)
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
    """Train an inpainting network on DATA: a folder of photos, a tar or zip archive, or an STL-10 binary file.

    The run's folder gets last.pt (to resume), best.pt (to export), split.json, log.jsonl and a sample picture per
    epoch.
    """
    changes: dict[str, Any] = collect(flags)
    named = {"architecture": architecture, "seed": seed, "hyper_parameters": parse_hyper_parameters(hyper_parameters)}
    changes |= {name: value for name, value in named.items() if value is not None and value != {}}
    config = _resolve(recipe, config_file, changes)
    if show_config:
        click.echo(format_toml(config), nl=False)
        return
    if data is None or out is None:
        raise click.UsageError("training needs DATA (the photos) and --out (the run's folder).")
    if resume and init_from:
        raise click.UsageError("--resume continues from the run's own weights: leave --init-from out.")

    import torch

    from wavepaint.training.distributed import DistributedContext, join_distributed, leave_distributed
    from wavepaint.training.loop import Trainer
    from wavepaint.training.run_folder import BEST, LAST, SPLIT
    from wavepaint.training.run_log import LOG

    def train(context: DistributedContext) -> tuple[bool, int]:
        """Return whether the run is finished, and its step. Free the trainer before its processes leave."""
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
            context=context,
        )
        with _StopSignals() as signals, _ConsoleReporter() as reporter:
            finished = trainer.run(reporter, lambda: signals.requested)
        trainer.close()
        return finished, trainer.step

    inputs = [path for path in (data, val_data, init_from, config_file, lpips_weights) if path is not None]
    check_outputs(inputs, [out / name for name in (LAST, BEST, SPLIT, LOG)])
    if threads:
        torch.set_num_threads(threads)
    context = join_distributed(device)
    if not context.is_first:
        warnings.simplefilter("ignore")  # only the first process reports
    try:
        finished, step = train(context)
    finally:
        leave_distributed()
    if finished and context.is_first:
        click.echo(f"done: export it with: wp export {out / BEST} -o BUNDLE", err=True)
    if not finished:
        if context.is_first:
            click.echo(f"stopped at step {step} and saved: continue with the same command and --resume.", err=True)
        sys.exit(130)
