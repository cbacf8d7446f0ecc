"""The training loop: steps, validation, checkpoints and what they leave behind.

A run's folder holds ``last.pt`` (with everything needed to go on), ``best.pt`` (the best validation, fit for
``wp export``), ``split.json`` (which photos train), ``log.jsonl`` (a line an epoch), ``samples/epoch_NNNN.png`` and,
where asked for, TensorBoard's events. Checkpoints are replaced whole or not at all, so that whatever ends a run, the
last good state stays.
"""

import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wavepaint import __version__
from wavepaint.data.split import check_split, write_split
from wavepaint.errors import CheckpointError, ConfigError, OutputError, TrainingError, WavePaintWarning
from wavepaint.metrics.lpips import load_lpips
from wavepaint.models.registry import build_model, get_architecture
from wavepaint.models.wavepaint import WavePaint
from wavepaint.training.config import OptimizationConfig, TrainConfig, find_differences
from wavepaint.training.data_module import DataModule
from wavepaint.training.device import pick_device, pick_precision
from wavepaint.training.distributed import DistributedContext, synchronise_batch_norm
from wavepaint.training.record import NUM_SAMPLE_ROWS, EpochReport, RunRecord
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep
from wavepaint.training.validation import Validation
from wavepaint.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from wavepaint.weights.growing import load_beginning
from wavepaint.weights.loading import load_strictly

LAST, BEST, SPLIT = "last.pt", "best.pt", "split.json"

_STEPS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 20}
"""Reading a loss makes the GPU's queue run empty, as asking the other processes does, so both are done every so many
steps."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run found before its first step.

    Attributes:
        num_train: Training photos.
        num_val: Validation images.
        device: Where it computes.
        precision: Autocast type.
        world_size: Processes.
        step: Steps behind it, if it is resumed.
        total_steps: Steps in all.
    """

    num_train: int
    num_val: int
    device: str
    precision: str
    world_size: int
    step: int
    total_steps: int


class Reporter(Protocol):
    """Who watches a run."""

    def on_start(self, config: TrainConfig, facts: RunFacts) -> None: ...
    def on_step(self, step: int, loss: float, images_per_s: float) -> None: ...
    def on_epoch(self, report: EpochReport) -> None: ...


def _check_sizes(config: TrainConfig) -> None:
    """Raise a ConfigError unless crops and validation images fit the network's size multiple."""
    multiple = get_architecture(config.architecture).size_multiple(config.hyper_parameters)
    for flag, size in (("--crop-size", config.data.crop_size), ("--val-size", config.data.val_size)):
        if size % multiple:
            raise ConfigError(f"{flag} is {size}: this network needs a multiple of {multiple}.")


def _check_shares(config: OptimizationConfig, world: DistributedContext) -> None:
    parts = world.size * config.accumulate
    if config.batch_size % parts:
        raise ConfigError(
            f"--batch-size is {config.batch_size}: expected a multiple of {parts} ({world.size} processes times "
            f"--accumulate {config.accumulate})."
        )


class _EpochSums:
    """What has been added up since an epoch began; part of a checkpoint, so that a resumed epoch reports the whole."""

    def __init__(self) -> None:
        self.steps = 0
        self.seconds = 0.0
        self.waited = 0.0
        self.losses: dict[str, float] = {}

    def add_losses(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        return {name: value / max(self.steps, 1) for name, value in self.losses.items()}


class Trainer:
    """One training run.

    Args:
        config: The resolved configuration.
        data: Training photos, as :func:`wavepaint.data.sources.open_source` takes them.
        val_data: Validation photos; None holds out a share of ``data``.
        out: The run's folder.
        resume: Go on from ``out/last.pt``; the configuration must be the same.
        init_from: A checkpoint to begin from, of the same network or of one with fewer modules.
        device: Where to train; None takes the GPU if there is one.
        lpips_weights: File or folder of the perceptual network's weights, if the losses need one.
        download: Fetch them if they are nowhere here.
        tensorboard: Write events for TensorBoard.
        world: The processes of the run.

    Raises:
        TrainingError: No or too few photos, a network for another task, or no perceptual weights.
        CheckpointError: Nothing to resume, or a checkpoint of another configuration or network.
        ConfigError: Sizes that do not fit the network, or a device that is not there.
        OutputError: A run is there already, or its folder cannot be written.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Path,
        out: Path,
        *,
        val_data: Path | None = None,
        resume: bool = False,
        init_from: Path | None = None,
        device: str | None = None,
        lpips_weights: Path | None = None,
        download: bool = False,
        tensorboard: bool = False,
        world: DistributedContext | None = None,
    ) -> None:
        if get_architecture(config.architecture).task != "inpainting":
            raise TrainingError(f"{config.architecture} is not an inpainting network; wp train trains only those.")
        self.config, self.out, self.world = config, out, world or DistributedContext()
        _check_sizes(config)
        _check_shares(config.optimization, self.world)
        last = out / LAST
        if last.exists() and not resume:
            raise OutputError(f"{out} holds a run already. Pass --resume to go on with it, or choose another folder.")
        if resume and not last.exists():
            raise CheckpointError(f"{last} does not exist, so there is nothing to resume. Leave --resume out.")
        self.device = pick_device(device, self.world)
        self.autocast_dtype = pick_precision(config.optimization.precision, self.device)
        # Cheap checks come first: weights that are missing are told before a million photos are listed.
        lpips = None
        if config.loss.needs_lpips:
            lpips = load_lpips(config.loss.lpips_network, lpips_weights, self.device, download=download)
        beginning = read_checkpoint(init_from) if init_from and not resume else None
        self.feed = DataModule(config, data, val_data)
        self._build(lpips, beginning)
        if resume:
            self._restore(last)
        self.record = RunRecord(out, step=self.step, tensorboard=tensorboard) if self.world.is_first else None
        if self.world.is_first:
            self._write_split(resume=resume)
        self.world.wait()

    def _build(self, lpips: Any, beginning: Checkpoint | None) -> None:
        config = self.config
        self.steps_per_epoch = config.optimization.steps_per_epoch or max(
            len(self.feed.split.train) // config.optimization.crops_per_step, 1
        )
        self.total_steps = config.optimization.steps or config.optimization.epochs * self.steps_per_epoch
        torch.manual_seed(config.seed)
        model: nn.Module = build_model(config.architecture, config.hyper_parameters)
        if isinstance(model, WavePaint) and (model.config.prefill_levels or beginning):
            model.start_from_initial_fill()
        if beginning:
            load_beginning(model, beginning, config.architecture)
        layout = torch.channels_last if config.optimization.channels_last else torch.contiguous_format
        model = synchronise_batch_norm(model, self.world, fused=self.device.type == "cuda")
        self.model: nn.Module = model.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.schedule = Schedule(config.optimization, self.total_steps)
        self.updater = TrainStep(
            config,
            self.model,
            self.schedule,
            self.world,
            self.device,
            autocast_dtype=self.autocast_dtype,
            lpips=lpips,
        )
        self.validation = Validation(self.feed.val_pairs, self.device, lpips, self.world)
        self.step = 0
        self.best_rank = -math.inf
        self.seconds = 0.0
        self._sums = _EpochSums()
        self._begun_from = {"file": beginning.path.name, "sha256": beginning.sha256} if beginning else None

    def _write_split(self, *, resume: bool) -> None:
        path = self.out / SPLIT
        if resume and path.exists():
            check_split(path, self.feed.split)
        else:
            write_split(path, self.feed.split, overwrite=True)

    def _restore(self, last: Path) -> None:
        checkpoint = read_checkpoint(last)
        if not checkpoint.resume:
            raise CheckpointError(f"{last} holds weights only and cannot be resumed.")
        # A setting that is newer than the run has its default.
        saved = TrainConfig.from_dict(checkpoint.training["config"])
        differing = find_differences(saved.to_dict(), self.config.to_dict())
        if differing:
            raise CheckpointError(
                f"{last} was trained with other settings ({', '.join(differing)}). Resume with the same ones."
            )
        load_strictly(self.model, checkpoint.state, last)
        resume = checkpoint.resume
        self.schedule.load_state_dict(resume["schedule"])
        self.updater.load_state_dict(resume["updater"])
        self.step = int(resume["step"])
        self.best_rank = float(resume["best_rank"])
        self.seconds = float(resume["seconds"])
        self._sums.__dict__.update(resume["sums"])
        self._begun_from = checkpoint.training.get("begun_from")
        if int(resume["world_size"]) != self.world.size:
            warnings.warn(
                f"the run was trained by {resume['world_size']} process(es) and goes on with {self.world.size}: its "
                "weights will differ by rounding from those of an uninterrupted run.",
                WavePaintWarning,
                stacklevel=2,
            )

    def run(self, reporter: Reporter, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``should_stop`` returns true after a step (on a GPU: after one of twenty).

        Returns:
            Whether the run is over; otherwise it is saved and can be resumed.

        Raises:
            TrainingError: A loss is not finite, or too many photos are broken.
            OutputError: The run's folder cannot be written, or is full.
        """
        if self.world.is_first:
            facts = RunFacts(
                num_train=len(self.feed.split.train),
                num_val=len(self.feed.val_pairs),
                device=str(self.device),
                precision={torch.bfloat16: "bf16", torch.float16: "fp16", None: "float32"}[self.autocast_dtype],
                world_size=self.world.size,
                step=self.step,
                total_steps=self.total_steps,
            )
            reporter.on_start(self.config, facts)
        if self.schedule.finished:
            return True
        between_looks = _STEPS_BETWEEN_LOOKS.get(self.device.type, 1)
        save_every = self.config.optimization.save_every
        pending: list[dict[str, Tensor]] = []
        since = time.perf_counter()
        for parts in self.feed.batches(self.world, self.device, first_step=self.step, total_steps=self.total_steps):
            self._sums.waited += time.perf_counter() - since
            pending.append(self.updater.update(parts, self.step))
            self.step += 1
            self._sums.steps += 1
            epoch_over = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
            save = bool(save_every and self.step % save_every == 0)
            look = len(pending) >= between_looks or epoch_over or save
            if look:
                loss = self._look_at(pending)
                pending = []
            self._sums.seconds += time.perf_counter() - since
            if look and self.world.is_first:
                reporter.on_step(self.step, loss, self._images_per_s())
            stop = look and not epoch_over and self.world.any(should_stop())
            if epoch_over:
                report = self._finish_epoch()
                if self.world.is_first:
                    reporter.on_epoch(report)
                stop = self.step < self.total_steps and self.world.any(should_stop())
                if self.schedule.finished:
                    return True
            elif save or stop:
                self._save(LAST)
            if stop:
                return False
            since = time.perf_counter()
        return True

    def _images_per_s(self) -> float:
        return self._sums.steps * self.config.optimization.crops_per_step / max(self._sums.seconds, 1e-9)

    def _look_at(self, pending: list[dict[str, Tensor]]) -> float:
        """Add up the losses of the last steps, over all processes; return the last loss, the mean of all processes.

        Raises:
            TrainingError: One of them is not finite, in any process.
        """
        names = list(pending[0])
        table = torch.stack([torch.stack([row[name].float() for name in names]) for row in pending]).double().cpu()
        *sums_of_all, last = self.world.mean([*table.sum(dim=0).tolist(), float(table[-1, names.index("loss")])])
        sums = dict(zip(names, sums_of_all, strict=True))
        bad = [name for name, value in sums.items() if not math.isfinite(value)]
        if bad:
            good = f"The last good state is in {self.out / LAST}" if (self.out / LAST).exists() else "Nothing was saved"
            raise TrainingError(
                f"{'the gradient' if bad == ['gradient'] else f'the loss ({bad[0]})'} is not finite at step "
                f"{self.step}. {good}; try a lower --learning-rate, --clip-norm 1 or --precision float32."
            )
        self._sums.add_losses(sums)
        return last

    def _finish_epoch(self) -> EpochReport:
        figures = self.validation.run(self.updater.result)
        rank = figures.rank_by(self.config.optimization.monitor)
        best = rank > self.best_rank  # never what is not a number
        means = self._sums.means()
        loss = means.pop("loss")
        report = EpochReport(
            epoch=math.ceil(self.step / self.steps_per_epoch),
            step=self.step,
            stage=self.schedule.stage,
            learning_rate=self.schedule.learning_rate(self.step - 1),
            loss=loss,
            parts=means,
            val_psnr_db=figures.psnr_db,
            val_ssim=figures.ssim,
            val_lpips=figures.lpips,
            images_per_s=self._images_per_s(),
            loader_share=self._sums.waited / max(self._sums.seconds, 1e-9),
            best=best,
        )
        self.seconds += self._sums.seconds
        self._sums = _EpochSums()
        if best:
            self.best_rank = rank
            self._save(BEST, figures={"psnr_hole_db": figures.psnr_db, "ssim_hole": figures.ssim,
                                      "lpips_hole": figures.lpips})  # fmt: skip
        self.world.wait()
        verdict = self.schedule.finish_epoch(improved=best)
        if self.best_rank == -math.inf and (verdict != "go on" or self.step == self.total_steps):
            raise TrainingError(
                f"there are no best weights to go on from or to export: in every validation up to step {self.step} "
                f"--monitor {self.config.optimization.monitor} was not a number. Begin anew with a lower "
                "--learning-rate, --clip-norm 1 or --precision float32."
            )
        if verdict == "switch":
            self.updater.restart_with_best(read_checkpoint(self.out / BEST).state)
        # The log first: a run killed between the two repeats the epoch, and its line is cut off then.
        if self.record:
            samples = self.validation.fill_samples(self.updater.result, NUM_SAMPLE_ROWS)
            with self._say_what_is_kept():
                self.record.add_epoch(report, samples)
        self._save(LAST)
        return report

    def _save(self, name: str, figures: dict[str, Any] | None = None) -> None:
        """Write a checkpoint: what is exported as ``best.pt``, or what is needed to go on as ``last.pt``."""
        if not self.world.is_first:
            return
        resume = {
            "step": self.step,
            "best_rank": self.best_rank,
            "seconds": self.seconds,
            "sums": dict(self._sums.__dict__),
            "schedule": self.schedule.state_dict(),
            "updater": self.updater.state_dict(),
            "world_size": self.world.size,
        }
        training = {
            "config": self.config.to_dict(),
            "step": self.step,
            "seconds": round(self.seconds + self._sums.seconds, 1),
            "data": self.feed.record,
            "begun_from": self._begun_from,
            "validation": figures,
            "device": self.device.type,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "processes": self.world.size,
            "versions": {"wavepaint": __version__, "torch": str(torch.__version__)},
        }
        with self._say_what_is_kept():
            save_checkpoint(
                self.out / name,
                self.model if name == LAST else self.updater.result,
                architecture=self.config.architecture,
                parameters=self.config.hyper_parameters,
                training=training,
                resume=resume if name == LAST else None,
            )

    @contextmanager
    def _say_what_is_kept(self) -> Iterator[None]:
        """Tell, where the run's folder cannot be written, how to go on."""
        try:
            yield
        except OutputError as error:
            kept = " The state before is kept: make room and go on with --resume." if (self.out / LAST).exists() else ""
            raise OutputError(f"{error}{kept}") from error

    def close(self) -> None:
        """Close the run's files, and wait for the other processes to be as far."""
        if self.record:
            self.record.close()
        self.world.wait()
