"""The data of a run that trains inpainting: photos opened and split, and masks."""

from pathlib import Path

from torch import Tensor

from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import open_source
from wavepaint.data.validation_set import load_validation
from wavepaint.training.config import TrainConfig
from wavepaint.training.crops import RandomCrops, to_float
from wavepaint.training.network_step import Batch
from wavepaint.training.run_data import RunData, choose_split, make_augmentation, warn_of_few


class DataModule(RunData):
    """The photos of a run with their masks.

    Args:
        config: The configuration.
        data: Training photos; :func:`wavepaint.data.sources.open_source` lists the accepted kinds.
        val_data: Validation photos; None holds out a share of ``data``.

    Attributes:
        val_pairs: The validation images and their masks.

    Raises:
        ConfigError: A setting of the augmentation or the masks is out of range.
        TrainingError: There are too few photos, or too many cannot be decoded.
    """

    def __init__(self, config: TrainConfig, data: Path, val_data: Path | None) -> None:
        settings = config.data
        self.config = config
        # Settings and cut-outs come first, because listing a million photos takes long.
        self._augmentation = make_augmentation(config)
        silhouettes = Path(settings.silhouettes) if settings.silhouettes else None
        self._masks, val_masks = (MaskSampler(kinds, silhouettes) for kinds in (settings.masks, settings.val_masks))
        self._source = open_source(data)
        val_source = None if val_data is None else open_source(val_data)
        self.split = choose_split(config, self._source, val_source)
        self.val_pairs = load_validation(
            val_source or self._source,
            self.split.val,
            size=settings.val_size,
            masks=val_masks,
            max_photos=settings.val_images,
            max_broken=settings.max_broken,
        )
        warn_of_few(self.num_val)
        self._record_sources(self._source, val_source or self._source)

    @property
    def num_val(self) -> int:
        return len(self.val_pairs)

    def _make_samples(self, num_samples: int, workers: int) -> RandomCrops:
        return RandomCrops(
            self._source,
            self.split.train,
            self._augmentation,
            self._masks,
            seed=self.config.seed,
            num_samples=num_samples,
            workers=workers,
            max_broken=self.config.data.max_broken,
        )

    def _to_batch(self, image: Tensor, other: Tensor) -> Batch:
        return to_float(image, other)
