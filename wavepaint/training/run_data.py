"""What the data of every kind of run have in common: a split, and batches."""

import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from wavepaint.data.augment import Augmentation
from wavepaint.data.sources import PhotoSource
from wavepaint.data.split import Split, split_names
from wavepaint.errors import WavePaintWarning
from wavepaint.training.config import RunConfig
from wavepaint.training.crops import RandomSamples, read_batches
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.network_step import Batch

_FEW = 4
"""Validation photos below which a run warns."""


def _ignore_interrupts(worker: int) -> None:
    """Leave the signals of terminals and job schedulers, which reach every process, to the training process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def make_augmentation(config: RunConfig) -> Augmentation:
    """Return the augmentation of a run.

    Raises:
        ConfigError: A setting is out of range.
    """
    settings = config.data
    return Augmentation(
        crop_size=settings.crop_size,
        min_scale=settings.min_scale,
        max_scale=settings.max_scale,
        flip=settings.flip,
        colour=settings.colour,
        perspective=settings.perspective,
        rotation=settings.rotation,
        shear=settings.shear,
        lens=settings.lens,
        local_contrast=settings.local_contrast,
    )


def warn_of_few(num_val: int) -> None:
    """Warn if validation says little because it has few photos."""
    if num_val < _FEW:
        warnings.warn(
            f"validation has {num_val} photo(s), so its figures and the choice of the best weights are mostly chance. "
            "Hold out more with --val-fraction 0.2, or name more with --val-data.",
            WavePaintWarning,
            stacklevel=4,
        )


def choose_split(
    config: RunConfig,
    source: PhotoSource,
    val_source: PhotoSource | None,
    split: Callable[..., Split] = split_names,
) -> Split:
    """Return the photos for training, validation and testing.

    Args:
        config: The configuration of the run.
        source: The photos to train on.
        val_source: The photos for validation; None holds out shares of ``source``.
        split: Holds out shares of names, as :func:`wavepaint.data.split.split_names` does.
    """
    if val_source is not None:
        return Split(train=tuple(source.names), val=tuple(val_source.names), seed=config.seed)
    settings = config.data
    return split(
        source.names, seed=config.seed, val_fraction=settings.val_fraction, test_fraction=settings.test_fraction
    )


class RunData(ABC):
    """The training and validation data of a run.

    Attributes:
        config: The configuration.
        split: The photos for training, validation and testing.
        record: Numbers of photos and hashes of their listings, for checkpoints.
    """

    config: RunConfig
    split: Split
    record: dict[str, Any]

    @property
    @abstractmethod
    def num_val(self) -> int:
        """Number of validation photos that can be decoded."""

    @abstractmethod
    def _make_samples(self, num_samples: int, workers: int) -> RandomSamples:
        """Return the samples of a run; ``workers`` processes of this machine share the memory for photos."""

    @abstractmethod
    def _to_batch(self, image: Tensor, other: Tensor) -> Batch:
        """Convert what a loader sends to a batch, on the device."""

    def _record_sources(self, source: PhotoSource, val_source: PhotoSource) -> None:
        """Set the record once the split is known."""
        self.record = {"train": source.describe(self.split.train), "val": val_source.describe(self.split.val)}
        if self.split.test:
            self.record["test"] = source.describe(self.split.test)

    def iterate_batches(
        self, context: DistributedContext, device: torch.device, *, first_step: int, total_steps: int
    ) -> Iterator[list[Batch]]:
        """Yield this process's micro-batches of each step.

        The last batch of a step trains the network; only the discriminator learns from the others. The samples of
        step n start at n * crops_per_step, for any number of processes and micro-batches.

        Raises:
            TrainingError: Too many photos cannot be decoded, or a loader process died.
        """
        config, settings = self.config.optimization, self.config.data
        samples = self._make_samples(total_steps * config.crops_per_step, context.local_size * max(settings.workers, 1))
        size = config.batch_size // (context.size * config.accumulate)
        firsts = (
            batch * config.batch_size + (context.rank * config.accumulate + part) * size
            for batch in range(first_step * config.discriminator_steps, total_steps * config.discriminator_steps)
            for part in range(config.accumulate)
        )
        loader = DataLoader(
            samples,
            batch_sampler=(list(range(first, first + size)) for first in firsts),
            num_workers=settings.workers,
            # Its own generator, because the loader draws a seed and must not advance the global one.
            generator=torch.Generator(),
            prefetch_factor=4 if settings.workers else None,
            pin_memory=device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
        )
        micro_batches: list[Batch] = []
        for image, other in read_batches(loader):
            micro_batches.append(
                self._to_batch(image.to(device, non_blocking=True), other.to(device, non_blocking=True))
            )
            if len(micro_batches) == config.discriminator_steps * config.accumulate:
                yield micro_batches
                micro_batches = []
