"""wp train: train a network on photos, for inpainting or for classes."""

import shlex
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

import click

from wavepaint.cli.completion import FILE, FOLDER, PATH, complete_names, complete_path_or, refuse_stream
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.interrupt import INTERRUPTED
from wavepaint.cli.train_flags import add_flags, collect, parse_hyper_parameters
from wavepaint.cli.train_reporter import NOT_BEGUN, ConsoleReporter, describe_end, describe_stop
from wavepaint.errors import ConfigError
from wavepaint.outputs import check_outputs
from wavepaint.training.class_recipes import CLASS_ARCHITECTURES, CLASS_RECIPES
from wavepaint.training.config import RUN_KINDS, RunKind
from wavepaint.training.config_file import format_toml, read_toml
from wavepaint.training.recipes import ARCHITECTURES, FINE_TUNE, RECIPES
from wavepaint.training.run_settings import locate_checkpoint, read_settings, resolve_settings

_RECIPES = (*RECIPES, *CLASS_RECIPES)
_ARCHITECTURES = (*ARCHITECTURES, *CLASS_ARCHITECTURES)


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


def _make_resume_command(data: Path, out: Path, num_processes: int, passed: Mapping[str, object]) -> str:
    """Return the command that continues a run. Its settings are in the run's folder, and the other flags are given."""
    words = ["torchrun", "--nproc-per-node", str(num_processes), "-m", "wavepaint"] if num_processes > 1 else ["wp"]
    words += ["train", str(data), "-o", str(out), "--resume"]
    for flag, value in passed.items():
        words += [] if value in (None, False) else [flag] if value is True else [flag, str(value)]
    return shlex.join(words)


def _check_files(out: Path, *inputs: Path | None) -> None:
    from wavepaint.training.run_folder import BEST, LAST, SPLIT
    from wavepaint.training.run_log import LOG

    check_outputs([path for path in inputs if path is not None], [out / name for name in (LAST, BEST, SPLIT, LOG)])


@click.command(
    cls=GroupedCommand,
    essential=("out", "init_from", "optimization__steps", "resume", "val_data", "download"),
    examples=[
        (
            "wp train photos/ -o runs/mine --init-from default --download-weights",
            "Fine-tune the model that ships on a folder of photos:",
        ),
        ("wp train photos/ -o runs/mine --resume", "Continue that run after Ctrl-C or a power cut:"),
        (
            "wp train pets/ -o runs/pets --task classify",
            "Train a classifier on a folder that has a folder of images for each class:",
        ),
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
        "--task",
        type=click.Choice(RUN_KINDS),
        help="What to train. inpaint: fill holes. classify: name the class of an image; DATA has a folder of images "
        "for each class. segment: find the class of each pixel; DATA has images/ and labels/ with label maps of the "
        "same names.  [default: inpaint, or that of --recipe]",
    ),
    click.option(
        "--init-from",
        shell_complete=complete_path_or("default"),
        callback=refuse_stream,
        metavar="FILE",
        help='Checkpoint to start from, or "default" for the model that ships. Its network is trained, unless --recipe '
        "names a larger one. Without this option, training starts from random weights.",
    ),
    click.option(
        "--resume", is_flag=True, help="Continue the run in --out exactly where it stopped, with its settings."
    ),
    click.option(
        "--val-data",
        type=PATH,
        help="Folder or archive of photos to validate on, laid out like DATA. Default: a share of DATA.",
    ),
    click.option(
        "--labels",
        type=FILE,
        help="With --task classify or segment: text file with the names of the classes, one a line. Default: the "
        "names of the folders, or numbers from 0.",
    ),
    click.option(
        "--recipe",
        type=click.Choice(_RECIPES),
        metavar="NAME",
        help=f"Complete configuration to start from: {', '.join(_RECIPES)}. The defaults below are those of default "
        f"and, where they differ, of {FINE_TUNE}; --recipe NAME --show-config prints others.  [default: default; "
        f"{FINE_TUNE} with --init-from default; classify or segment with that --task]",
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
        shell_complete=complete_names(*_ARCHITECTURES),
        metavar="NAME",
        help=f"Network to train: {', '.join(_ARCHITECTURES)}. Another one than the recipe's starts without the "
        "recipe's hyper-parameters.",
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
        help="Download the weights of LPIPS, the loss that keeps textures sharp, if the recipe needs them and they are "
        "missing.",
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
    task: RunKind | None,
    val_data: Path | None,
    labels: Path | None,
    recipe: str | None,
    config_file: Path | None,
    show_config: bool,
    resume: bool,
    init_from: str | None,
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
    """Train a network on DATA: for inpainting a folder of photos, a tar or zip archive, or an STL-10 binary file.

    Classifiers and segmenters are trained, too: see --task.

    The run's folder gets last.pt (to resume), best.pt (to export), split.json, log.jsonl and a sample picture per
    epoch.
    """
    changes: dict[str, Any] = collect(flags)
    named = {"architecture": architecture, "seed": seed, "hyper_parameters": parse_hyper_parameters(hyper_parameters)}
    changes |= {name: value for name, value in named.items() if value is not None and value != {}}
    if not show_config and (data is None or out is None):
        raise click.UsageError("training needs DATA (the photos) and --out (the run's folder).")
    if resume and init_from:
        raise click.UsageError("--resume continues from the run's own weights: leave --init-from out.")
    if resume and labels:
        raise click.UsageError("--resume continues with the run's own labels: leave --labels out.")
    initial = locate_checkpoint(init_from) if init_from else None
    if out is not None and not show_config:
        _check_files(out, data, val_data, labels, initial, config_file, lpips_weights)
    if resume and out and not (recipe or config_file):
        settings = read_settings(out)
        if task not in (None, settings.kind):
            raise ConfigError(f"the run in {out} has --task {settings.kind}: leave --task {task} out.")
        config = settings.change(changes)
    else:
        file = read_toml(config_file) if config_file else {}
        config = resolve_settings(
            recipe, file, changes, task=task, init_from=initial, lpips_weights=lpips_weights, download=download
        )
    if show_config:
        click.echo(format_toml(config), nl=False)
        return
    assert data is not None
    assert out is not None

    import torch

    from wavepaint.export.classes import read_labels
    from wavepaint.training.distributed import DistributedContext, join_distributed, leave_distributed
    from wavepaint.training.loop import Trainer
    from wavepaint.training.run_folder import BEST, LAST

    def train(context: DistributedContext) -> tuple[bool, str]:
        """Return whether the run is finished, and what to say. Free the trainer before its processes leave."""
        trainer = Trainer(
            config,
            data,
            out,
            val_data=val_data,
            resume=resume,
            init_from=initial,
            device=device,
            lpips_weights=lpips_weights,
            download=download,
            labels=read_labels(labels) if labels is not None else None,
            tensorboard=tensorboard,
            context=context,
        )
        with _StopSignals() as signals, ConsoleReporter(out) as reporter:
            finished = trainer.run(reporter, lambda: signals.requested)
        trainer.close()
        if finished:
            return True, describe_end(out / BEST, config.optimization.monitor, trainer.best_rank, trainer.start_rank)
        resume_command = _make_resume_command(data, out, context.size, others)
        return False, describe_stop(trainer.step, resume_command, best=out / BEST, last=out / LAST)

    others = {
        "--val-data": val_data,
        "--lpips-weights": lpips_weights,
        "--download-weights": download,
        "--tensorboard": tensorboard,
        "--threads": threads,
        "--device": device,
    }
    if threads:
        torch.set_num_threads(threads)
    context = join_distributed(device)
    if not context.is_first:
        warnings.simplefilter("ignore")  # only the first process reports
    try:
        finished, message = train(context)
    except KeyboardInterrupt:  # while the data are loaded; a run that has begun catches the signal
        finished, message = False, NOT_BEGUN
    finally:
        leave_distributed()
    if context.is_first:
        click.echo(message, err=True)
    if not finished:
        sys.exit(INTERRUPTED)
