"""The training data set: random crops with what belongs to them, for inpainting with masks.

Loader processes send bytes, a quarter of the size of floats. :func:`to_float` converts a batch on the device.
"""

import warnings
from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from wavepaint.data.augment import Augmentation, augment
from wavepaint.data.masks import MaskSampler
from wavepaint.data.names import PackedNames
from wavepaint.data.sources import PhotoSource
from wavepaint.data.validation_set import MAX_BROKEN
from wavepaint.errors import ConfigError, TrainingError, WavePaintWarning
from wavepaint.machine import find_memory_bytes

MIN_CACHE_BYTES, CACHE_SHARE = 2 << 30, 8
"""Memory for decoded photos, shared by all loader processes of a machine: an eighth of its memory, at least 2 GiB.

Decoding costs more than a small step. Each process caches its own photos, so a GPU with many processes needs more.
"""
BYTES_PER_PIXEL = 4
"""Pillow stores RGB in 4 bytes."""
NUM_PROBED = 64

Sample = tuple[Tensor, Tensor]


def find_cache_bytes() -> int:
    """Return the memory for decoded photos of all loader processes of this machine."""
    return max(MIN_CACHE_BYTES, (find_memory_bytes() or 0) // CACHE_SHARE)


def to_float(image: Tensor, mask: Tensor) -> Sample:
    """Convert a batch of bytes to the input of a network.

    Args:
        image: (N, 3, S, S) uint8, on any device.
        mask: (N, 1, S, S) uint8, 0 and 1.

    Returns:
        Both as float32 in their memory format, the image in [0, 1].
    """
    return image.float() / 255, mask.float()


def read_batches(loader: Iterable[Sample]) -> Generator[Sample, None, None]:
    """Yield the batches of a loader. Errors of its processes get one-line messages.

    A :class:`~torch.utils.data.DataLoader` re-raises the error of a process with the whole traceback as its message.

    Raises:
        TrainingError: Loading failed.
    """
    try:
        yield from loader
    except TrainingError as error:
        raise TrainingError(str(error).strip().rsplit("TrainingError: ", 1)[-1]) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a loader process died ({str(error).splitlines()[0]}). The usual cause is too little memory or shared "
            "memory: try fewer --workers."
        ) from error


def probe_sizes(source: PhotoSource, names: Sequence[str], crop_size: int) -> None:
    """Warn if most of up to 64 evenly spread photos are smaller than the crop.

    Raises:
        TrainingError: No photo can be read.
    """
    sides, last = [], None
    count = min(len(names), NUM_PROBED)
    for index in range(count):
        try:
            sides.append(min(source.measure(names[index * len(names) // count])))
        except TrainingError as error:
            last = error
    if not sides:
        raise TrainingError(f"none of {count} training photos can be decoded; the last: {last}")
    small = sum(side < crop_size for side in sides)
    if small > len(sides) / 2:
        warnings.warn(
            f"{small} of {len(sides)} sampled photos are smaller than the crop of {crop_size} pixels (median side "
            f"{np.median(sides):.0f}). They will be enlarged, which blurs them; a smaller --crop-size avoids that.",
            WavePaintWarning,
            stacklevel=3,
        )


class RandomSamples(Dataset[Sample]):
    """The samples of a run: an augmented crop (3, S, S) uint8, and what belongs to it.

    A sample depends only on the seed and its number. Neither the loader process nor a resumed run changes it. Every
    photo appears once before any appears twice. The first loader process that meets an undecodable photo reports it;
    the next photo takes its place.

    Args:
        source: The photos.
        names: Names of the training photos.
        crop_size: S, in pixels.
        seed: 0 or more.
        num_samples: Number of samples of the whole run.
        workers: Processes on this machine that load photos for this run and share the memory for them; 0 if the
            training process loads them.
        max_broken: Number of broken photos above which loading fails.

    Raises:
        ConfigError: A number is negative.
        TrainingError: There are no photos, or none can be read.
    """

    def __init__(
        self,
        source: PhotoSource,
        names: Sequence[str],
        crop_size: int,
        *,
        seed: int,
        num_samples: int,
        workers: int,
        max_broken: int = MAX_BROKEN,
    ) -> None:
        for flag, number in (("seed", seed), ("steps", num_samples), ("workers", workers), ("max-broken", max_broken)):
            if number < 0:
                raise ConfigError(f"--{flag} is {number}: expected 0 or more.")
        if not names:
            raise TrainingError(f"{source.root} leaves no photo to train on: give more photos.")
        probe_sizes(source, names, crop_size)
        self.source, self.names = source, PackedNames(names)
        self.seed, self.num_samples, self.max_broken = seed, num_samples, max_broken
        self._cache: dict[int, Image.Image] = {}
        self._room = find_cache_bytes() // max(workers, 1)
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        # All loader processes share these flags, forked or spawned. Two processes that meet a broken photo at the same
        # moment may both report it; a lock on every read would cost more.
        self._broken = torch.zeros(len(names), dtype=torch.uint8)
        self._broken.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self.num_samples

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        # Shuffling a million photos takes 20 ms, so the order of the current epoch is cached.
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, 0, epoch))
            self._order = epoch, rng.permutation(len(self.names))
        return self._order[1]

    def _load_photo(self, place: int) -> Image.Image:
        photo = self._cache.get(place)
        if photo is None:
            photo = self._read_photo(place)
            size = photo.width * photo.height * BYTES_PER_PIXEL
            if size <= self._room:
                self._cache[place] = photo
                self._room -= size
        return photo

    def _read_photo(self, place: int) -> Image.Image:
        """Return a photo as it is cached."""
        return self.source.read(self.names[place])

    def _report_broken(self, place: int, error: TrainingError) -> None:
        if not self._broken[place]:
            self._broken[place] = 1
            warnings.warn(f"skipped: {error}", WavePaintWarning, stacklevel=2)
        num_broken = int(self._broken.sum())
        if num_broken > self.max_broken:
            raise TrainingError(
                f"{num_broken} of {len(self.names)} training photos cannot be decoded, more than --max-broken "
                f"({self.max_broken}); the last: {error}"
            )

    def _find_photo(self, order: NDArray[np.int64], index: int) -> tuple[int, Image.Image]:
        """Return the place of a photo in the names, and the photo."""
        for offset in range(len(order)):
            place = int(order[(index + offset) % len(order)])
            if self._broken[place]:
                continue
            try:
                return place, self._load_photo(place)
            except TrainingError as error:
                self._report_broken(place, error)
        raise TrainingError("none of the training photos can be decoded.")

    def __getitem__(self, number: int) -> Sample:
        epoch, index = divmod(number, len(self.names))
        rng = np.random.default_rng((self.seed, 1, number))
        return self._make_sample(*self._find_photo(self._shuffle(epoch), index), rng)

    @abstractmethod
    def _make_sample(self, place: int, photo: Image.Image, rng: np.random.Generator) -> Sample:
        """Return the sample of a photo, whose name is at ``place``."""


def to_tensor(crop_HWC: NDArray[np.uint8]) -> Tensor:
    """Return a crop as (3, S, S) uint8."""
    return torch.from_numpy(np.ascontiguousarray(crop_HWC.transpose(2, 0, 1)))


class RandomCrops(RandomSamples):
    """The samples of inpainting: augmented crops with masks (1, S, S) of 0 and 1, both uint8.

    Args:
        source: The photos.
        names: Names of the training photos.
        augmentation: How a photo becomes a crop.
        masks: The mask sampler.
        run: The other arguments of :class:`RandomSamples`.

    Raises:
        ConfigError: A number is negative.
        TrainingError: There are no photos, or none can be read.
    """

    def __init__(
        self, source: PhotoSource, names: Sequence[str], augmentation: Augmentation, masks: MaskSampler, **run: Any
    ) -> None:
        super().__init__(source, names, augmentation.crop_size, **run)
        self.augmentation, self.masks = augmentation, masks

    def _make_sample(self, place: int, photo: Image.Image, rng: np.random.Generator) -> Sample:
        image = to_tensor(augment(photo, self.augmentation, rng))
        size = self.augmentation.crop_size
        return image, torch.from_numpy(self.masks(size, size, rng))[None]
