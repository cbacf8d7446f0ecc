"""What a run trains a network to do: its data, its steps with their losses, its validation and its record."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import nn

from wavepaint.contract import INPAINTING, Task
from wavepaint.metrics.lpips import LPIPS, load_lpips
from wavepaint.training.config import RunConfig, TrainConfig
from wavepaint.training.data_module import DataModule
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.measures import Metrics
from wavepaint.training.network_step import NetworkStep
from wavepaint.training.run_data import RunData
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep
from wavepaint.training.validator import Validator


class RunValidator(Protocol):
    """The validation of a run.

    Attributes:
        metrics: The class of what it measures.
    """

    metrics: type[Any]

    def measure(self, model: nn.Module) -> Metrics:
        """Measure a network in float32. Every process returns the same metrics."""

    def draw(self, model: nn.Module) -> Image.Image:
        """Return a picture of the first validation images and what the network makes of them."""

    def draw_example(self) -> Image.Image:
        """Return a picture that is about as large in a file as those to come."""


class RunTask(ABC):
    """The parts of a run that depend on what it trains.

    Attributes:
        task: What the network is for.
        labels: Names of the classes; empty without classes.
    """

    task: Task
    labels: tuple[str, ...] = ()

    @abstractmethod
    def load_weights(self, device: torch.device, path: Path | None, *, download: bool) -> None:
        """Load the weights of the losses.

        Raises:
            TrainingError: They are missing.
        """

    @abstractmethod
    def open_data(self, data: Path, val_data: Path | None) -> RunData:
        """Open the photos, and load those for validation.

        Raises:
            ConfigError: A setting is out of range.
            TrainingError: There are too few photos, or too many cannot be decoded.
        """

    @abstractmethod
    def make_step(
        self,
        model: nn.Module,
        schedule: Schedule,
        context: DistributedContext,
        device: torch.device,
        autocast_dtype: torch.dtype | None,
    ) -> NetworkStep:
        """Return the optimizer step."""

    @abstractmethod
    def make_validator(self, device: torch.device, context: DistributedContext) -> RunValidator:
        """Return the validation. The data are open."""

    def complete(self, config: RunConfig) -> RunConfig:
        """Return the configuration with what only the data tell."""
        return config

    def describe(self) -> dict[str, Any]:
        """Return facts for a checkpoint's training record."""
        return {}

    def restore(self, training: dict[str, Any]) -> None:  # noqa: B027 -- most tasks have nothing to take over
        """Take over the facts of the run that is resumed."""


class InpaintingTask(RunTask):
    """Filling holes."""

    task = INPAINTING

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._lpips: LPIPS | None = None
        self._pairs: Sequence[Any] = ()

    def load_weights(self, device: torch.device, path: Path | None, *, download: bool) -> None:
        loss = self._config.loss
        if loss.needs_lpips:
            self._lpips = load_lpips(loss.lpips_network, path, device, download=download)

    def open_data(self, data: Path, val_data: Path | None) -> RunData:
        module = DataModule(self._config, data, val_data)
        self._pairs = module.val_pairs
        return module

    def make_step(
        self,
        model: nn.Module,
        schedule: Schedule,
        context: DistributedContext,
        device: torch.device,
        autocast_dtype: torch.dtype | None,
    ) -> NetworkStep:
        return TrainStep(
            self._config, model, schedule, context, device, autocast_dtype=autocast_dtype, lpips=self._lpips
        )

    def make_validator(self, device: torch.device, context: DistributedContext) -> RunValidator:
        return Validator(self._pairs, device, self._lpips, context)
