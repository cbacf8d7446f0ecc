"""Images with their true classes: one folder for each class, or label maps."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wavepaint.contract import CLASSIFICATION, Task
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.data.split import split_names
from wavepaint.data.validation_set import Pixels
from wavepaint.errors import ImageError, WavePaintWarning, list_names, printable
from wavepaint.evaluation.held_out import find_held_out
from wavepaint.training.recognition.class_names import find_class, list_classes, split_classes
from wavepaint.training.recognition.label_maps import IGNORED, LabelledSource, open_labelled


class LabelledCases(ABC):
    """Images with labels.

    Attributes:
        names: The images to recognise.
    """

    names: Sequence[str]
    _source: PhotoSource

    @abstractmethod
    def load(self, name: str) -> tuple[Pixels, Any]:
        """Return an image (H, W, 3) uint8, and the number of its class or those of its pixels, (H, W) uint8.

        Raises:
            TrainingError: It cannot be decoded.
            ImageError: A label is none of the classes.
        """

    def describe(self) -> dict[str, Any]:
        """Return the number of images and a hash of their names and sizes."""
        return {"data": self._source.describe(self.names)}


class ClassCases(LabelledCases):
    """Images in one folder for each class.

    The folders are named like the classes. If none is, and there are as many, they are the classes in order, as
    ``wp train --labels`` names them.

    Args:
        data: The folder, or an archive.
        labels: Names of the classes.
        held_out: Folder of a run, to take only what it held out.

    Raises:
        TrainingError: The folders are not those of classes, or not those of the run.
        ImageError: A folder is none of the classes.
    """

    def __init__(self, data: Path, labels: Sequence[str], held_out: Path | None) -> None:
        self._source = open_source(data)
        self._numbers = _number_folders(list_classes(self._source), labels, data)
        self.names = find_held_out(held_out, self._source, split_classes) if held_out else self._source.names

    def load(self, name: str) -> tuple[Pixels, int]:
        return np.asarray(self._source.read(name)), self._numbers[find_class(name)]


class LabelMapCases(LabelledCases):
    """Images with label maps, in the layouts that :func:`open_labelled` lists; see :class:`ClassCases`."""

    _source: LabelledSource

    def __init__(self, data: Path, labels: Sequence[str], held_out: Path | None) -> None:
        self._source = open_labelled(data)
        self._num_classes = len(labels)
        self.names = find_held_out(held_out, self._source, split_names) if held_out else self._source.names

    def load(self, name: str) -> tuple[Pixels, Pixels]:
        image = self._source.read(name)
        labels = np.asarray(image.getchannel("A"))
        largest = int(np.max(labels, where=labels != IGNORED, initial=0))
        if largest >= self._num_classes:
            raise ImageError(
                f"{printable(self._source.find_map(name))} has the value {largest}: expected numbers of classes from 0 "
                f"to {self._num_classes - 1}, which the network has, and {IGNORED} for pixels to ignore."
            )
        return np.asarray(image.convert("RGB")), labels


def _number_folders(folders: Sequence[str], labels: Sequence[str], data: Path) -> dict[str, int]:
    """Return the number of the class of each folder."""
    if ambiguous := [folder for folder in folders if labels.count(folder) > 1]:
        raise ImageError(
            f"several of the network's classes have the name of a folder in {printable(data)}: "
            f"{list_names(ambiguous)}. Give every class a name of its own with wp export --labels."
        )
    unknown = [folder for folder in folders if folder not in labels]
    if not unknown:
        return {folder: labels.index(folder) for folder in folders}
    if len(unknown) == len(folders) == len(labels):
        pairs = list_names(f"{folder} = {label}" for folder, label in zip(folders, labels, strict=True))
        warnings.warn(
            f"no folder in {printable(data)} is named like a class, so they are taken in order: {pairs}.",
            WavePaintWarning,
            stacklevel=3,
        )
        return {folder: number for number, folder in enumerate(folders)}
    raise ImageError(
        f"{len(unknown)} of {len(folders)} folders in {printable(data)} are none of the network's {len(labels)} "
        f"classes: {list_names(unknown)}. Expected folders with the names of classes, such as {list_names(labels)}."
    )


def open_cases(task: Task, data: Path, labels: Sequence[str], held_out: Path | None) -> LabelledCases:
    """Open the labelled images for a task; see :class:`ClassCases` for the arguments and errors."""
    return (ClassCases if task is CLASSIFICATION else LabelMapCases)(data, labels, held_out)


def shrink(image: Pixels, side: int, filter_: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
    """Return an image or a label map as a square for a picture."""
    return np.asarray(Image.fromarray(image).resize((side, side), filter_))
