"""The photos of one training run: opened, split, and fed in batches to each of its processes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from wavepaint.data.augment import Augmentation
from wavepaint.data.crops import RandomCrops, read_batches, to_float
from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import open_source
from wavepaint.data.split import Split, split_names
from wavepaint.data.validation_set import load_validation
from wavepaint.training.config import TrainConfig
from wavepaint.training.distributed import DistributedContext

Batch = tuple[Tensor, Tensor]


def _ignore_interrupts(worker: int) -> None:
    """Leave to the training process what a terminal or a job scheduler sends to every process of a run."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class DataModule:
    """What a run trains and validates on.

    Args:
        config: The run's.
        data: Training photos, as :func:`wavepaint.data.sources.open_source` takes them.
        val_data: Validation photos; None holds out a share of ``data``.

    Attributes:
        split: Which photos train, validate and test.
        val_pairs: The validation images and their masks.
        record: Numbers of photos and hashes of their listings, for checkpoints.

    Raises:
        ConfigError: Settings of augmentation or masks that make no sense.
        TrainingError: No or too few photos, or too many that cannot be decoded.
    """

    def __init__(self, config: TrainConfig, data: Path, val_data: Path | None) -> None:
        settings = config.data
        self._config = config
        # Settings and cut-outs first: listing a million photos takes long.
        self._augmentation = Augmentation(
            crop_size=settings.crop_size,
            min_scale=settings.min_scale,
            max_scale=settings.max_scale,
            flip=settings.flip,
            colour=settings.colour,
            perspective=settings.perspective,
        )
        silhouettes = Path(settings.silhouettes) if settings.silhouettes else None
        self._masks, val_masks = (MaskSampler(kinds, silhouettes) for kinds in (settings.masks, settings.val_masks))
        self._source = val_source = open_source(data)
        if val_data is None:
            self.split = split_names(
                self._source.names,
                seed=config.seed,
                val_fraction=settings.val_fraction,
                test_fraction=settings.test_fraction,
            )
        else:
            val_source = open_source(val_data)
            self.split = Split(train=tuple(self._source.names), val=tuple(val_source.names), seed=config.seed)
        self.val_pairs = load_validation(
            val_source,
            self.split.val,
            size=settings.val_size,
            masks=val_masks,
            max_photos=settings.val_images,
            max_broken=settings.max_broken,
        )
        self.record = {"train": self._source.describe(self.split.train), "val": val_source.describe(self.split.val)}

    def batches(
        self, world: DistributedContext, device: torch.device, *, first_step: int, total_steps: int
    ) -> Iterator[list[Batch]]:
        """Yield this process's share of each step's batches, in the parts that gradients are accumulated over.

        The discriminator alone learns from all of them but the last. Step n takes the samples from n * crops_per_step
        on, whatever the number of processes and parts.

        Raises:
            TrainingError: Too many photos cannot be decoded, or a loader process died.
        """
        config, settings = self._config.optimization, self._config.data
        crops = RandomCrops(
            self._source,
            self.split.train,
            self._augmentation,
            self._masks,
            seed=self._config.seed,
            num_samples=total_steps * config.crops_per_step,
            workers=world.local_size * max(settings.workers, 1),
            max_broken=settings.max_broken,
        )
        share = config.batch_size // (world.size * config.accumulate)
        firsts = (
            batch * config.batch_size + (world.rank * config.accumulate + part) * share
            for batch in range(first_step * config.discriminator_steps, total_steps * config.discriminator_steps)
            for part in range(config.accumulate)
        )
        loader = DataLoader(
            crops,
            batch_sampler=(list(range(first, first + share)) for first in firsts),
            num_workers=settings.workers,
            # A generator of its own: drawing a loader's seed must not shift the state of the others.
            generator=torch.Generator(),
            prefetch_factor=4 if settings.workers else None,
            pin_memory=device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
        )
        parts: list[Batch] = []
        for image, mask in read_batches(loader):
            parts.append(to_float(image.to(device, non_blocking=True), mask.to(device, non_blocking=True)))
            if len(parts) == config.discriminator_steps * config.accumulate:
                yield parts
                parts = []
