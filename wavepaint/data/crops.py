"""Training crops with their masks.

The dataset yields bytes: a quarter of what floats take through the queue between loader processes and training.
:func:`to_float` makes floats of a batch where it is used, on the device.
"""

import warnings
from collections.abc import Generator, Iterable, Sequence

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
from wavepaint.errors import ConfigError, TrainingError, WavePaintWarning

CACHE_BYTES = 2 << 30
"""Decoded photos kept in memory, for all loader processes of a machine together: decoding costs more than a small
step."""
BYTES_PER_PIXEL = 4
"""How Pillow stores RGB."""
NUM_PROBED = 64
MAX_BROKEN = 100

Sample = tuple[Tensor, Tensor]


def to_float(image: Tensor, mask: Tensor) -> Sample:
    """Turn a batch of bytes into what networks take.

    Args:
        image: (N, 3, S, S) uint8, on any device.
        mask: (N, 1, S, S) uint8, 0 and 1.

    Returns:
        The same as float32, the image in [0, 1], with the memory format of the arguments.
    """
    return image.float() / 255, mask.float()


def read_batches(loader: Iterable[Sample]) -> Generator[Sample, None, None]:
    """Yield a loader's batches; errors of its processes come as they would without processes.

    A :class:`~torch.utils.data.DataLoader` hands on an error of a process as one of the same kind, with the whole
    traceback for its message.

    Raises:
        TrainingError: Loading failed, in one line.
    """
    try:
        yield from loader
    except TrainingError as error:
        raise TrainingError(str(error).strip().rsplit("TrainingError: ", 1)[-1]) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a loader process died ({str(error).splitlines()[0]}), mostly for want of memory or of shared memory. "
            "Try fewer --workers."
        ) from error


def probe_sizes(source: PhotoSource, names: Sequence[str], crop_size: int) -> None:
    """Warn if more than half of up to 64 photos, evenly spread, are smaller than the crop.

    Raises:
        TrainingError: None of them can be read.
    """
    sides, last = [], None
    number = min(len(names), NUM_PROBED)
    for place in range(number):
        try:
            sides.append(min(source.measure(names[place * len(names) // number])))
        except TrainingError as error:
            last = error
    if not sides:
        raise TrainingError(f"none of {number} training photos can be decoded; the last: {last}")
    small = sum(side < crop_size for side in sides)
    if small > len(sides) / 2:
        warnings.warn(
            f"{small} of {len(sides)} photos looked at are smaller than the crop of {crop_size} pixels (median side "
            f"{np.median(sides):.0f}) and will be enlarged, which blurs them. A smaller --crop-size avoids it.",
            WavePaintWarning,
            stacklevel=3,
        )


class RandomCrops(Dataset[Sample]):
    """Sample number i of a run: an augmented crop (3, S, S) and its mask (1, S, S) of 0 and 1, both uint8.

    A sample depends on the seed and its number (that is, on epoch and index) alone, not on which process loads it or
    where a run was resumed. Every photo is seen once before any is seen twice. A photo that cannot be decoded is
    reported once, by the first of all loader processes to meet it, and its place taken by the next one.

    Args:
        source: Where the photos are.
        names: Those to train on.
        augmentation: How they become crops.
        masks: Draws the masks.
        seed: 0 or more.
        num_samples: Of the whole run.
        workers: Processes on this machine that load photos for this run and share the memory for them; 0 is the
            training process alone.
        max_broken: With more broken photos than this, loading ends with an error.

    Raises:
        ConfigError: A number that makes no sense.
        TrainingError: No photos, or none that can be read.
    """

    def __init__(
        self,
        source: PhotoSource,
        names: Sequence[str],
        augmentation: Augmentation,
        masks: MaskSampler,
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
            raise TrainingError(f"{source.root} leaves no photo to train on. Give more photos.")
        probe_sizes(source, names, augmentation.crop_size)
        self.source, self.names = source, PackedNames(names)
        self.augmentation, self.masks = augmentation, masks
        self.seed, self.num_samples, self.max_broken = seed, num_samples, max_broken
        self._cache: dict[int, Image.Image] = {}
        self._room = CACHE_BYTES // max(workers, 1)
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        # Shared by all loader processes, whether forked or spawned. Two that meet the same broken photo in the same
        # instant may both report it; a lock on every read would cost more than that.
        self._broken = torch.zeros(len(names), dtype=torch.uint8)
        self._broken.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self.num_samples

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        # A million photos take 20 ms to shuffle, so the order is kept; samples come in the order of epochs.
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, 0, epoch))
            self._order = epoch, rng.permutation(len(self.names))
        return self._order[1]

    def _photo(self, place: int) -> Image.Image:
        photo = self._cache.get(place)
        if photo is None:
            photo = self.source.read(self.names[place])
            size = photo.width * photo.height * BYTES_PER_PIXEL
            if size <= self._room:
                self._cache[place] = photo
                self._room -= size
        return photo

    def _note_broken(self, place: int, error: TrainingError) -> None:
        if not self._broken[place]:
            self._broken[place] = 1
            warnings.warn(f"skipped: {error}", WavePaintWarning, stacklevel=2)
        num_broken = int(self._broken.sum())
        if num_broken > self.max_broken:
            raise TrainingError(
                f"{num_broken} of {len(self.names)} training photos cannot be decoded, more than --max-broken "
                f"({self.max_broken}); the last: {error}"
            )

    def _next_photo(self, order: NDArray[np.int64], index: int) -> Image.Image:
        for offset in range(len(order)):
            place = int(order[(index + offset) % len(order)])
            if self._broken[place]:
                continue
            try:
                return self._photo(place)
            except TrainingError as error:
                self._note_broken(place, error)
        raise TrainingError("none of the training photos can be decoded.")

    def __getitem__(self, number: int) -> Sample:
        epoch, index = divmod(number, len(self.names))
        rng = np.random.default_rng((self.seed, 1, number))
        crop_HWC = augment(self._next_photo(self._shuffle(epoch), index), self.augmentation, rng)
        size = self.augmentation.crop_size
        image = torch.from_numpy(np.ascontiguousarray(crop_HWC.transpose(2, 0, 1)))
        return image, torch.from_numpy(self.masks(size, size, rng))[None]
