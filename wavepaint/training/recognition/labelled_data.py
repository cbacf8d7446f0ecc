"""What the data of classifiers and segmenters have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from PIL import Image

from wavepaint.contract import PRESETS, Preprocessing, Resize
from wavepaint.data.augment import Augmentation
from wavepaint.data.sources import PhotoSource
from wavepaint.data.validation_set import Pixels, read_photos
from wavepaint.errors import TrainingError
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.crops import RandomSamples
from wavepaint.training.run_data import RunData

Item = TypeVar("Item")


class LabelledData(RunData):
    """Images with labels.

    Attributes:
        config: The configuration.
        class_names: Names of the classes, in the order of their numbers.
        augmentation: How an image becomes a crop.
    """

    config: ClassTrainConfig
    class_names: Sequence[str]
    augmentation: Augmentation

    @property
    def preprocessing(self) -> Preprocessing:
        """What bundles of this run do with photos; validation does the same."""
        return choose_preprocessing(self.config)

    @abstractmethod
    def _prepare_validation(self, name: str, photo: Image.Image) -> tuple[Pixels, Any]:
        """Return a validation image (S, S, 3) with its labels."""

    def _load_validation(self, source: PhotoSource) -> list[Any]:
        names = pick_evenly(self.split.val, self.config.data.val_images)
        photos = read_photos(source, names, self.config.data.max_broken)
        images = [self._prepare_validation(names[index], photo) for index, photo in photos]
        if not images:
            raise TrainingError(f"none of the {len(names)} validation images in {source.root} can be decoded.")
        return images


class LabelledSamples(RandomSamples):
    """Random crops of the training images of labelled data."""

    def __init__(self, data: LabelledData, source: PhotoSource, *, num_samples: int, workers: int) -> None:
        config = data.config
        super().__init__(
            source,
            data.split.train,
            config.data.crop_size,
            seed=config.seed,
            num_samples=num_samples,
            workers=workers,
            max_broken=config.data.max_broken,
        )
        self._augmentation, self._min_crop = data.augmentation, config.classes.min_crop


def choose_preprocessing(config: ClassTrainConfig) -> Preprocessing:
    """Return the normalisation of a run, with the size of its validation images.

    A classifier takes the centre of an image, and a segmenter the whole, stretched to a square.
    """
    size = config.data.val_size
    resize: Resize = "crop" if config.task == "classify" else "stretch"
    return replace(PRESETS[config.classes.preprocessing], size=(size, size), resize=resize)


def show_crops_within(settings: Augmentation, side: int, min_crop: float) -> Augmentation:
    """Return an augmentation whose crops have ``min_crop`` to 1 times a ``side`` of the image."""
    whole = settings.crop_size / side
    return replace(settings, min_scale=whole, max_scale=whole / min_crop)


def pick_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Return up to ``most`` items, spread evenly."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]
