"""What the data of classifiers and segmenters have in common."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from wavepaint.contract import PRESETS, Preprocessing, Resize
from wavepaint.data.augment import Augmentation
from wavepaint.data.sources import PhotoSource
from wavepaint.errors import printable
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.run_data import RunData

Item = TypeVar("Item")

_NUM_SHOWN = 3


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

    def _record(self, source: PhotoSource, val_source: PhotoSource) -> None:
        self.record = {"train": source.describe(self.split.train), "val": val_source.describe(self.split.val)}
        if self.split.test:
            self.record["test"] = source.describe(self.split.test)


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


def show_names(names: Iterable[object]) -> str:
    """Return the first names for a message, and how many more there are."""
    shown = [printable(name) for name in names]
    more = f" and {len(shown) - _NUM_SHOWN} more" if len(shown) > _NUM_SHOWN else ""
    return f"{', '.join(shown[:_NUM_SHOWN])}{more}"
