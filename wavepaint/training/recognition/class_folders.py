"""Images in one folder for each class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wavepaint.data.augment import augment
from wavepaint.data.sources import ArchiveSource, PhotoSource, open_source
from wavepaint.data.split import Split, split_names
from wavepaint.data.validation_set import Pixels
from wavepaint.errors import TrainingError, printable
from wavepaint.runtime.recognition.preparation import scale_photo
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.crops import RandomSamples, Sample, to_tensor
from wavepaint.training.network_step import Batch
from wavepaint.training.recognition.labelled_data import LabelledData, LabelledSamples, show_crops_within, show_names
from wavepaint.training.run_data import choose_split, make_augmentation, warn_of_few

_SUBSETS = frozenset({"train", "training", "val", "valid", "validation", "test"})
"""Names of folders that are parts of a data set, not classes."""


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
        unknown = sorted({_find_class(name) for name in source.names} - self._numbers.keys())
        if unknown:
            raise TrainingError(
                f"{source.root} has folders of classes that the training images do not have: {show_names(unknown)}. "
                "Remove them, or add these classes to the training images (--val-data)."
            )

    def _prepare_validation(self, name: str, photo: Image.Image) -> tuple[Pixels, int]:
        assert self.preprocessing.size is not None
        return scale_photo(photo, self.preprocessing.size, self.preprocessing), self._numbers[_find_class(name)]

    def _make_samples(self, num_samples: int, workers: int) -> RandomSamples:
        numbers = np.array([self._numbers[_find_class(name)] for name in self.split.train])
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


def _find_class(name: str) -> str:
    return name.partition("/")[0]


def list_classes(source: PhotoSource) -> list[str]:
    """Return the classes of a source: the first folders in the names of its images, sorted.

    Raises:
        TrainingError: Images are outside of the folders, there are fewer than two classes, a folder has no image, or
            the folders are those of subsets.
    """
    root = source.root
    if isinstance(source, ArchiveSource) and root.is_dir():
        raise TrainingError(
            f"{root} contains archives: expected a folder of images for each class, or one archive of such folders."
        )
    outside = [name for name in source.names if "/" not in name]
    if outside:
        raise TrainingError(
            f"{root} has {len(outside)} image(s) outside of the folders of classes: {show_names(outside)}. Move each "
            "into the folder of its class."
        )
    classes = sorted({_find_class(name) for name in source.names})
    folders = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    empty = sorted(name for name in folders if name not in classes and not name.startswith("."))
    if empty:
        raise TrainingError(
            f"{root} has folders of classes without an image: {show_names(empty)}. Add images, or remove the folders."
        )
    if _SUBSETS.issuperset(map(str.lower, classes)):
        raise TrainingError(
            f"the folders in {root} are subsets, not classes: {show_names(classes)}. Pass the one for training, and "
            "the one for validation with --val-data."
        )
    if len(classes) < 2:
        raise TrainingError(
            f"{root} has one class only: {show_names(classes)}. Expected a folder of images for each of two or more "
            "classes."
        )
    return classes


def split_classes(names: Sequence[str], *, seed: int, val_fraction: float, test_fraction: float) -> Split:
    """Split the images of each class as :func:`wavepaint.data.split.split_names` does.

    Raises:
        ConfigError: The shares leave nothing to train on.
        TrainingError: A class has too few images.
    """
    counts, needed = Counter(map(_find_class, names)), 3 if test_fraction else 2
    few = [f"{printable(name)} ({count})" for name, count in counts.items() if count < needed]
    if few:
        raise TrainingError(
            f"classes have too few images: {show_names(few)}. Expected {needed} or more in each, to hold some out; add "
            "images, or name others for validation (--val-data)."
        )
    parts = [
        split_names(group, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)
        for group in _group_by_class(names)
    ]
    train, val, test = (
        tuple(name for part in parts for name in getattr(part, subset)) for subset in ("train", "val", "test")
    )
    return Split(train=train, val=val, test=test, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)


def _group_by_class(names: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_find_class(name), []).append(name)
    return list(groups.values())
