"""The data of a training run: photos opened, split and loaded in batches."""

import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from wavepaint.data.augment import Augmentation
from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import open_source
from wavepaint.data.split import Split, split_names
from wavepaint.data.validation_set import load_validation
from wavepaint.errors import WavePaintWarning
from wavepaint.training.config import TrainConfig
from wavepaint.training.crops import RandomCrops, read_batches, to_float
from wavepaint.training.distributed import DistributedContext

Batch = tuple[Tensor, Tensor]
_FEW = 4
"""Validation photos below which a run warns."""


def _ignore_interrupts(worker: int) -> None:
    """Leave the signals of terminals and job schedulers, which reach every process, to the training process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class DataModule:
    """The training and validation data of a run.

    Args:
        config: The configuration.
        data: Training photos; :func:`wavepaint.data.sources.open_source` lists the accepted kinds.
        val_data: Validation photos; None holds out a share of ``data``.

    Attributes:
        split: The photos for training, validation and testing.
        val_pairs: The validation images and their masks.
        record: Numbers of photos and hashes of their listings, for checkpoints.

    Raises:
        ConfigError: A setting of the augmentation or the masks is out of range.
        TrainingError: There are too few photos, or too many cannot be decoded.
    """

    def __init__(self, config: TrainConfig, data: Path, val_data: Path | None) -> None:
        settings = config.data
        self._config = config
        # Settings and cut-outs come first, because listing a million photos takes long.
        self._augmentation = Augmentation(
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
        if len(self.val_pairs) < _FEW:
            warnings.warn(
                f"validation has {len(self.val_pairs)} photo(s), so its figures and the choice of the best weights are "
                "mostly chance. Hold out more with --val-fraction 0.2, or name more with --val-data.",
                WavePaintWarning,
                stacklevel=3,
            )
        self.record = {"train": self._source.describe(self.split.train), "val": val_source.describe(self.split.val)}
        if self.split.test:
            self.record["test"] = self._source.describe(self.split.test)

    def iterate_batches(
        self, context: DistributedContext, device: torch.device, *, first_step: int, total_steps: int
    ) -> Iterator[list[Batch]]:
        """Yield this process's micro-batches of each step.

        The last batch of a step trains the network; only the discriminator learns from the others. The samples of
        step n start at n * crops_per_step, for any number of processes and micro-batches.

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
            workers=context.local_size * max(settings.workers, 1),
            max_broken=settings.max_broken,
        )
        size = config.batch_size // (context.size * config.accumulate)
        firsts = (
            batch * config.batch_size + (context.rank * config.accumulate + part) * size
            for batch in range(first_step * config.discriminator_steps, total_steps * config.discriminator_steps)
            for part in range(config.accumulate)
        )
        loader = DataLoader(
            crops,
            batch_sampler=(list(range(first, first + size)) for first in firsts),
            num_workers=settings.workers,
            # Its own generator, because the loader draws a seed and must not advance the global one.
            generator=torch.Generator(),
            prefetch_factor=4 if settings.workers else None,
            pin_memory=device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
        )
        micro_batches: list[Batch] = []
        for image, mask in read_batches(loader):
            micro_batches.append(to_float(image.to(device, non_blocking=True), mask.to(device, non_blocking=True)))
            if len(micro_batches) == config.discriminator_steps * config.accumulate:
                yield micro_batches
                micro_batches = []
