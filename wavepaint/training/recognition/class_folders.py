"""Images in one folder for each class."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wavepaint.data.augment import augment
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.data.validation_set import Pixels
from wavepaint.errors import TrainingError, list_names
from wavepaint.runtime.recognition.preparation import scale_photo
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.crops import RandomSamples, Sample, to_tensor
from wavepaint.training.network_step import Batch
from wavepaint.training.recognition.class_names import find_class, list_classes, split_classes
from wavepaint.training.recognition.labelled_data import LabelledData, LabelledSamples, show_crops_within
from wavepaint.training.run_data import choose_split, make_augmentation, warn_of_few


class ClassFolders(LabelledData):
    """The images of a classifier. The names of the folders, sorted, are the classes.

    Args:
        config: The configuration.
        data: A folder with a folder of images for each class, at any depth below it; or an archive of such folders.
        val_data: Validation images in the same layout; None holds out a share of each class.

    Attributes:
        val_images: The validation images (S, S, 3) and their classes.

    Raises:
        ConfigError: A setting of the augmentation is out of range.
        TrainingError: The folders are not those of classes, or a class has too few images.
    """

    def __init__(self, config: ClassTrainConfig, data: Path, val_data: Path | None) -> None:
        self.config = config
        self.augmentation = make_augmentation(config)
        self._source = open_source(data)
        self.class_names = list_classes(self._source)
        self._numbers = {name: number for number, name in enumerate(self.class_names)}
        val_source = None if val_data is None else open_source(val_data)
        if val_source is not None:
            self._check_validation(val_source)
        self.split = choose_split(config, self._source, val_source, split_classes)
        self.val_images: list[tuple[Pixels, int]] = self._load_validation(val_source or self._source)
        warn_of_few(self.num_val)
        self._record_sources(self._source, val_source or self._source)

    @property
    def num_val(self) -> int:
        return len(self.val_images)

    def _check_validation(self, source: PhotoSource) -> None:
        unknown = sorted({find_class(name) for name in source.names} - self._numbers.keys())
        if unknown:
            raise TrainingError(
                f"{source.root} has folders of classes that the training images do not have: {list_names(unknown)}. "
                "Remove them, or add these classes to the training images (--val-data)."
            )

    def _prepare_validation(self, name: str, photo: Image.Image) -> tuple[Pixels, int]:
        assert self.preprocessing.size is not None
        return scale_photo(photo, self.preprocessing.size, self.preprocessing), self._numbers[find_class(name)]

    def _make_samples(self, num_samples: int, workers: int) -> RandomSamples:
        numbers = np.array([self._numbers[find_class(name)] for name in self.split.train])
        return _ClassCrops(self, self._source, numbers, num_samples=num_samples, workers=workers)

    def _to_batch(self, image: Tensor, other: Tensor) -> Batch:
        return image.float() / 255, other


class _ClassCrops(LabelledSamples):
    """Augmented crops (3, S, S) uint8 with the number of their class."""

    def __init__(
        self, data: ClassFolders, source: PhotoSource, numbers: np.ndarray, *, num_samples: int, workers: int
    ) -> None:
        super().__init__(data, source, num_samples=num_samples, workers=workers)
        self._numbers = numbers

    def _make_sample(self, place: int, photo: Image.Image, rng: np.random.Generator) -> Sample:
        settings = show_crops_within(self._augmentation, min(photo.size), self._min_crop)
        return to_tensor(augment(photo, settings, rng)), torch.tensor(int(self._numbers[place]))
