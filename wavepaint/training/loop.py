"""The training loop: steps, validation, checkpoints and reports."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError, TrainingError
from wavepaint.training.config import RunConfig
from wavepaint.training.distributed import DistributedContext, synchronise_batch_norm
from wavepaint.training.epoch_sums import EpochSums
from wavepaint.training.estimates import Pace, count_validations, estimate_disk, is_early
from wavepaint.training.hardware import pick_device, pick_precision
from wavepaint.training.initial_model import build_initial_model, check_network
from wavepaint.training.measures import Metrics
from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.reporter import EpochReport, Reporter, RunFacts
from wavepaint.training.run_folder import BEST, LAST, RunFolder
from wavepaint.training.run_log import RunLog
from wavepaint.training.schedule import Schedule
from wavepaint.training.tasks import make_task
from wavepaint.weights.checkpoint import Checkpoint, read_checkpoint
from wavepaint.weights.loading import load_strictly

_STEPS_BETWEEN_READS = {"cpu": 1, "cuda": 20}
"""Steps between reads of the losses, by device. A read waits for the GPU, and so does exchange between processes."""


def _check_batch_size(config: OptimizationConfig, context: DistributedContext) -> None:
    multiple = context.size * config.accumulate
    if config.batch_size % multiple:
        raise ConfigError(
            f"--batch-size is {config.batch_size}: expected a multiple of {multiple} ({context.size} processes times "
            f"--accumulate {config.accumulate})."
        )


class Trainer:
    """One training run.

    Args:
        config: The resolved configuration.
        data: Training photos; :func:`wavepaint.data.sources.open_source` lists the accepted kinds.
        out: The folder of the run.
        val_data: Validation photos; None holds out a share of ``data``.
        resume: Continue from ``out/last.pt`` with the same configuration.
        init_from: A checkpoint to start from, of the same network or of one with fewer modules.
        device: The device to train on; None picks a GPU if there is one.
        lpips_weights: File or folder with the weights of the perceptual network, if the losses need one.
        download: Download these weights if they are not on this machine.
        labels: Names of the classes, in the order of their numbers; None takes those of the data.
        tensorboard: Write TensorBoard events.
        context: The processes of the run.

    Raises:
        TrainingError: There are too few photos or no perceptual weights, or the network has another task.
        CheckpointError: There is nothing to resume, or a checkpoint has another configuration or network.
        ConfigError: A size does not fit the network, or there is no such device.
        OutputError: The folder contains a run, lies among the photos, or cannot be written.
    """

    def __init__(
        self,
        config: RunConfig,
        data: Path,
        out: Path,
        *,
        val_data: Path | None = None,
        resume: bool = False,
        init_from: Path | None = None,
        device: str | None = None,
        lpips_weights: Path | None = None,
        download: bool = False,
        labels: Sequence[str] | None = None,
        tensorboard: bool = False,
        context: DistributedContext | None = None,
    ) -> None:
        self.context = context or DistributedContext()
        self.task = make_task(config, labels)
        check_network(config, self.task.task)
        _check_batch_size(config.optimization, self.context)
        silhouettes = Path(config.data.silhouettes) if config.data.silhouettes else None
        self.folder = RunFolder(out, filter(None, (data, val_data, silhouettes)), resume=resume)
        self.device = pick_device(device, self.context)
        self.autocast_dtype = pick_precision(config.optimization.precision, self.device)
        # Cheap checks come first: missing weights are reported before a million photos are listed.
        self.task.load_weights(self.device, lpips_weights, download=download)
        initial = read_checkpoint(init_from) if init_from and not resume else None
        self.data = self.task.open_data(data, val_data)
        self.config = self.task.complete(config)
        self.step = 0
        self.best_rank = -math.inf
        self.start_metrics: Metrics | None = None
        self.seconds = 0.0
        self._pace = Pace()
        self._sums = EpochSums()
        self._begun_from = {"file": initial.path.name, "sha256": initial.sha256} if initial else None
        self._build(initial)
        if resume:
            self._restore()
        self._check_space()
        self.log = RunLog(out, step=self.step, tensorboard=tensorboard) if self.context.is_first else None
        if self.context.is_first:
            self.folder.write_split(self.data.split)
        self.context.wait()

    def _build(self, initial: Checkpoint | None) -> None:
        optimization = self.config.optimization
        self.steps_per_epoch = optimization.steps_per_epoch or max(
            len(self.data.split.train) // optimization.crops_per_step, 1
        )
        self.total_steps = optimization.steps or optimization.epochs * self.steps_per_epoch
        model = build_initial_model(self.config, initial)
        model = synchronise_batch_norm(model, self.context, fused=self.device.type == "cuda")
        layout = torch.channels_last if optimization.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.schedule = Schedule(optimization, self.total_steps)
        self.train_step = self.task.make_step(self.model, self.schedule, self.context, self.device, self.autocast_dtype)
        self.validator = self.task.make_validator(self.device, self.context)

    def _restore(self) -> None:
        checkpoint = self.folder.read_last(self.config, self.context)
        load_strictly(self.model, checkpoint.state, checkpoint.path)
        state = checkpoint.resume
        self.schedule.load_state_dict(state["schedule"])
        self.train_step.load_state_dict(state["updater"])
        self.step = int(state["step"])
        self.best_rank = float(state["best_rank"])
        self.seconds = float(state["seconds"])
        self._sums.load(state["sums"])
        self._begun_from = checkpoint.training.get("begun_from")
        self.task.restore(checkpoint.training)
        if state.get("start"):
            self.start_metrics = self.validator.metrics(**state["start"])

    @property
    def trained_seconds(self) -> float:
        """Seconds spent on steps so far, including waiting for photos and earlier parts of a resumed run."""
        return self.seconds + self._sums.seconds

    @property
    def start_rank(self) -> float | None:
        """The monitored metric before training, negated if less is better; None if the run is from an older version."""
        monitor = self.config.optimization.monitor
        return self.start_metrics.rank_by(monitor) if self.start_metrics else None

    def _check_space(self) -> None:
        use = estimate_disk(
            self.train_step,
            self.validator.draw_example(),
            self.config.optimization,
            num_pictures=count_validations(self.step, self.total_steps, self.steps_per_epoch) + (self.step == 0),
            resume=self.folder.resume,
        )
        self._disk_bytes, self._free_bytes = use.total, self.folder.check_space(use)

    def run(self, reporter: Reporter, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``should_stop`` returns true after a step (on a GPU, every 20 steps).

        The network is validated before the first step, after some steps of a long first epoch, and at the end of every
        epoch. Only the validations of whole epochs count as a choice of the best weights.

        Returns:
            True if the run is finished. Otherwise it is saved and can be resumed, unless it has no step yet.

        Raises:
            TrainingError: A loss is not finite, or too many photos are broken.
            OutputError: The folder cannot be written, or the disk is full.
        """
        if not self.context.is_first:
            reporter = Reporter()
        reporter.on_start(self.config, self._collect_facts())
        if self.schedule.finished:
            return True
        if self.step == 0:
            self.start_metrics = self._validate_early(reporter)
            if self.context.any(should_stop()):
                return False
        steps_between_reads = _STEPS_BETWEEN_READS.get(self.device.type, 1)
        save_every = self.config.optimization.save_every
        unread: list[dict[str, Tensor]] = []
        since = time.perf_counter()
        batches = self.data.iterate_batches(
            self.context, self.device, first_step=self.step, total_steps=self.total_steps
        )
        for micro_batches in batches:
            self._sums.waited += time.perf_counter() - since
            unread.append(self.train_step.run(micro_batches, self.step))
            self.step += 1
            self._sums.steps += 1
            epoch_over = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
            save = bool(save_every and self.step % save_every == 0)
            early = is_early(self.step, self.steps_per_epoch)
            read = len(unread) >= steps_between_reads or epoch_over or save or early
            if read:
                loss = self._read_losses(unread)
                unread = []
            self._sums.seconds += time.perf_counter() - since
            if read:
                self._report_step(reporter, loss)
            if early:
                self._validate_early(reporter)
            stop = read and not epoch_over and self.context.any(should_stop())
            if epoch_over:
                reporter.on_epoch(self._finish_epoch(reporter))
                stop = self.step < self.total_steps and self.context.any(should_stop())
                if self.schedule.finished:
                    return True
            elif save or stop:
                self._save_last()
            if stop:
                return False
            since = time.perf_counter()
        return True

    def _collect_facts(self) -> RunFacts:
        return RunFacts(
            num_train=len(self.data.split.train),
            num_val=self.data.num_val,
            device=str(self.device),
            precision={torch.bfloat16: "bf16", torch.float16: "fp16", None: "float32"}[self.autocast_dtype],
            num_processes=self.context.size,
            step=self.step,
            total_steps=self.total_steps,
            disk_bytes=self._disk_bytes,
            free_bytes=self._free_bytes,
            labels=self.task.labels,
        )

    def _report_step(self, reporter: Reporter, loss: float) -> None:
        images_per_s = self._sums.compute_images_per_s(self.config.optimization.crops_per_step)
        reporter.on_step(self.step, loss, images_per_s)
        left = self._pace.estimate(
            self.step,
            self.trained_seconds,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
        )
        if left is not None:
            reporter.on_estimate(left, images_per_s)

    def _read_losses(self, unread: list[dict[str, Tensor]]) -> float:
        """Add the losses of the last steps to the epoch's; return the last loss, averaged over all processes.

        Raises:
            TrainingError: A loss is not finite in any process.
        """
        last, bad = self._sums.add_losses(unread, self.context)
        if bad:
            saved = self.folder.last
            state = f"The last good state is in {saved}" if saved.exists() else "Nothing was saved"
            raise TrainingError(
                f"{'the gradient' if bad == ['grad_norm'] else f'the loss ({bad[0]})'} is not finite at step "
                f"{self.step}. {state}; try a lower --learning-rate, --clip-norm 1 or --precision float32."
            )
        return last

    def _measure(self, reporter: Reporter) -> Metrics:
        reporter.on_validating()
        since = time.perf_counter()
        metrics = self.validator.measure(self.train_step.result)
        self._pace.validation_s = time.perf_counter() - since
        return metrics

    def _validate_early(self, reporter: Reporter) -> Metrics:
        """Validate before the first epoch is over, draw the samples, and save the weights if they are trained.

        Until the epoch is over, ``best.pt`` contains the latest of these weights. Whatever its validation gives, the
        epoch replaces them, so that they never change the course of a run.
        """
        metrics = self._measure(reporter)
        if self.log:
            picture = self.validator.draw(self.train_step.result)
            with self.folder.explain_failure():
                self.log.save_picture(min(self.step, 1), picture)
        if self.step and not math.isnan(metrics.rank_by(self.config.optimization.monitor)):
            self._save_best(metrics)
        reporter.on_validation(self.step, metrics)
        return metrics

    def _finish_epoch(self, reporter: Reporter) -> EpochReport:
        metrics = self._measure(reporter)
        rank = metrics.rank_by(self.config.optimization.monitor)
        best = rank > self.best_rank  # NaN is never the best
        report = self._sums.make_report(
            metrics,
            crops_per_step=self.config.optimization.crops_per_step,
            epoch=math.ceil(self.step / self.steps_per_epoch),
            step=self.step,
            stage=self.schedule.stage,
            learning_rate=self.schedule.learning_rate(self.step - 1),
            best=best,
        )
        self.seconds += self._sums.seconds
        self._sums = EpochSums()
        if best:
            self.best_rank = rank
            self._save_best(metrics)
        self.context.wait()
        verdict = self.schedule.finish_epoch(improved=best)
        if self.best_rank == -math.inf and (verdict != "continue" or self.step == self.total_steps):
            raise TrainingError(
                f"there are no best weights to continue from or to export: up to step {self.step} no validation gave a "
                f"number for --monitor {self.config.optimization.monitor}. Start again with a lower "
                "--learning-rate, --clip-norm 1 or --precision float32."
            )
        if verdict == "switch":
            self.train_step.restart_with_best(read_checkpoint(self.folder.path / BEST).state)
        # The log comes first. A run killed between the two repeats the epoch, and its log line is then removed.
        if self.log:
            picture = self.validator.draw(self.train_step.result)
            with self.folder.explain_failure():
                self.log.add_epoch(report, picture)
        self._save_last()
        return report

    def _save_last(self) -> None:
        if self.context.is_first:
            resume = {
                "step": self.step,
                "best_rank": self.best_rank,
                "start": dict(self.start_metrics.__dict__) if self.start_metrics else None,
                "seconds": self.seconds,
                "sums": dict(self._sums.__dict__),
                "schedule": self.schedule.state_dict(),
                "updater": self.train_step.state_dict(),
                "world_size": self.context.size,
            }
            self.folder.save(LAST, self.model, self.config, training=self._describe(), resume=resume)

    def _save_best(self, metrics: Metrics) -> None:
        if self.context.is_first:
            training = self._describe() | {"validation": metrics.to_record()}
            self.folder.save(BEST, self.train_step.result, self.config, training=training)

    def _describe(self) -> dict[str, Any]:
        """Return the facts of the run for a checkpoint's training record."""
        return {
            "step": self.step,
            "seconds": round(self.trained_seconds, 1),
            "data": self.data.record,
            "begun_from": self._begun_from,
            "validation": None,
            "device": self.device.type,
            "processes": self.context.size,
            **self.task.describe(),
        }

    def close(self) -> None:
        """Close the files of the run, and wait for the other processes."""
        if self.log:
            self.log.close()
        self.context.wait()
