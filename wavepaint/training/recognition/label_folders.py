"""Images with label maps: the data of a segmenter."""

import math
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wavepaint.data.augment import augment_labelled
from wavepaint.data.validation_set import Pixels
from wavepaint.errors import TrainingError, WavePaintWarning, list_names, printable
from wavepaint.runtime.recognition.preparation import scale_photo
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.crops import RandomSamples, Sample, to_tensor
from wavepaint.training.network_step import Batch
from wavepaint.training.recognition.class_step import UNLABELLED
from wavepaint.training.recognition.label_maps import IGNORED, LabelledSource, count_pixels, open_labelled
from wavepaint.training.recognition.labelled_data import LabelledData, LabelledSamples, show_crops_within
from wavepaint.training.run_data import choose_split, make_augmentation, warn_of_few


class LabelFolders(LabelledData):
    """The images of a segmenter and their label maps.

    Args:
        config: The configuration. Its number of classes, if it has one, bounds the values of the label maps.
        data: The folder; :func:`open_labelled` lists the accepted layouts.
        val_data: Validation images in the same layout; None holds out a share of ``data``.
        num_classes: Number of classes; None takes the largest value of a label map, plus 1.

    Attributes:
        val_images: The validation images (S, S, 3) and their labels (S, S).

    Raises:
        ConfigError: A setting of the augmentation is out of range.
        TrainingError: An image has no label map, or one that does not fit; or there are too few images.
    """

    def __init__(
        self, config: ClassTrainConfig, data: Path, val_data: Path | None, num_classes: int | None = None
    ) -> None:
        self.config = config
        self.augmentation = make_augmentation(config)
        self._source = open_labelled(data)
        val_source = None if val_data is None else open_labelled(val_data)
        self.split = choose_split(config, self._source, val_source)
        val_source = val_source or self._source
        found = self._count_classes(val_source, num_classes)
        self.class_names = [str(number) for number in range(found)]
        self.val_images: list[tuple[Pixels, Pixels]] = self._load_validation(val_source)
        warn_of_few(self.num_val)
        self._record_sources(self._source, val_source)

    @property
    def num_val(self) -> int:
        return len(self.val_images)

    def _count_classes(self, val_source: LabelledSource, num_classes: int | None) -> int:
        """Return the number of classes, once all label maps are known to fit it."""
        counts = count_pixels(self._source, self.split.train)
        found = max(_find_largest(counts) + 1, 1)
        limit = found if num_classes is None else num_classes
        for source, names, pixels in (
            (self._source, self.split.train, counts),
            (val_source, self.split.val, count_pixels(val_source, self.split.val)),
        ):
            self._check_values(source, names, pixels, limit, is_given=num_classes is not None)
        if limit < 2:
            raise TrainingError(
                f"the label maps in {printable(self._source.root)} have one class only, 0; {IGNORED} marks pixels to "
                "ignore. Expected two or more classes; a black and white map needs the values 0 and 1."
            )
        absent = np.flatnonzero(counts.sum(axis=0)[:limit] == 0)
        if len(absent):
            warnings.warn(
                f"{len(absent)} of {limit} classes have no pixel in the training images, so the network cannot learn "
                f"them: {list_names(absent)}.",
                WavePaintWarning,
                stacklevel=5,
            )
        return limit

    def _check_values(
        self, source: LabelledSource, names: tuple[str, ...], counts: NDArray[np.int64], limit: int, *, is_given: bool
    ) -> None:
        for name, pixels in zip(names, counts, strict=True):
            largest = _find_largest(pixels[None])
            if largest >= limit:
                reason = "which this run has" if is_given else "the largest of the training images"
                raise TrainingError(
                    f"{printable(source.find_map(name))} has the value {largest}: expected numbers of classes from 0 "
                    f"to {limit - 1}, {reason}, and {IGNORED} for pixels to ignore."
                )

    def _prepare_validation(self, name: str, photo: Image.Image) -> tuple[Pixels, Pixels]:
        size = (self.config.data.val_size,) * 2
        labels = np.asarray(photo.getchannel("A").resize(size, Image.Resampling.NEAREST))
        return scale_photo(photo.convert("RGB"), size, self.preprocessing), labels

    def _make_samples(self, num_samples: int, workers: int) -> RandomSamples:
        return _LabelledCrops(self, self._source, num_samples=num_samples, workers=workers)

    def _to_batch(self, image: Tensor, other: Tensor) -> Batch:
        return image.float() / 255, other.long().masked_fill(other == IGNORED, UNLABELLED)


class _LabelledCrops(LabelledSamples):
    """Augmented crops (3, S, S) with their labels (S, S), both uint8.

    Images are stretched to squares before they are cropped, as those that the trained network gets.
    """

    def _read_photo(self, place: int) -> Image.Image:
        """Return a photo as a square that is just large enough for the smallest crop, with its labels as alpha."""
        photo, size = super()._read_photo(place), self._augmentation.crop_size
        side = max(min(math.ceil(size / self._min_crop), max(photo.size)), size)
        square = photo.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        square.putalpha(photo.getchannel("A").resize((side, side), Image.Resampling.NEAREST))
        return square

    def _make_sample(self, place: int, photo: Image.Image, rng: np.random.Generator) -> Sample:
        settings = show_crops_within(self._augmentation, photo.width, self._min_crop)
        crop, labels = augment_labelled(photo.convert("RGB"), photo.getchannel("A"), settings, rng)
        return to_tensor(crop), torch.from_numpy(labels.copy())


def _find_largest(counts: NDArray[np.int64]) -> int:
    """Return the largest class in any of the maps, -1 if all pixels are to be ignored."""
    present = np.flatnonzero(counts[:, :IGNORED].sum(axis=0))
    return int(present[-1]) if len(present) else -1
