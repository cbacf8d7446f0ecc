"""The facts and numbers that a run reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wavepaint.training.config import RunConfig
from wavepaint.training.measures import Metrics


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts of a run before its first step.

    Attributes:
        num_train: Number of training photos.
        num_val: Number of validation images.
        device: The device of the run.
        precision: Autocast dtype.
        num_processes: Number of processes.
        step: Steps already done, if the run is resumed.
        total_steps: Length of the run in steps.
        disk_bytes: Space that the run's files will need, in bytes.
        free_bytes: Space that is free for them.
        labels: Names of the classes; empty for inpainting.
    """

    num_train: int
    num_val: int
    device: str
    precision: str
    num_processes: int
    step: int
    total_steps: int
    disk_bytes: int
    free_bytes: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """The numbers of an epoch.

    Attributes:
        epoch: Number of the epoch, counted from 1.
        step: Steps done so far.
        stage: Optimizer, "adamw" or "sgd".
        learning_rate: Learning rate of its last step.
        loss: Mean training loss.
        losses: Means of the weighted losses that add up to ``loss``, and of the discriminator's.
        grad_norm: Mean gradient norm before clipping; None with float16, whose overflows are skipped.
        metrics: What its validation measured.
        images_per_s: Training throughput of all processes, including loading and excluding validation.
        loader_share: Share of that time spent waiting for photos.
        best: Whether this is the best epoch so far.
    """

    epoch: int
    step: int
    stage: str
    learning_rate: float
    loss: float
    losses: Mapping[str, float] = field(default_factory=dict)
    grad_norm: float | None = None
    metrics: Metrics
    images_per_s: float
    loader_share: float
    best: bool

    def to_dict(self) -> dict[str, Any]:
        """Return flat values: the loss ``x`` is ``loss_x``, and the metric ``x`` is ``val_x``."""
        values: dict[str, Any] = {}
        for name, value in self.__dict__.items():
            if name != "losses":
                values |= self.metrics.to_log() if name == "metrics" else {name: value}
        return {**values, **{f"loss_{name}": value for name, value in self.losses.items()}}


class Reporter:
    """An observer of a run; it ignores what it does not override."""

    def on_start(self, config: RunConfig, facts: RunFacts) -> None:
        """Before the first step."""

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        """After a step, or on a GPU after several."""

    def on_estimate(self, seconds_left: float, images_per_s: float) -> None:
        """Once, when the first steps have shown how long the rest of the run takes."""

    def on_validating(self) -> None:
        """Before every validation."""

    def on_validation(self, step: int, metrics: Metrics) -> None:
        """After a validation before the end of the first epoch. Step 0 is the network that the run begins with."""

    def on_epoch(self, report: EpochReport) -> None:
        """After an epoch and its validation."""
