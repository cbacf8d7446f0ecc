"""Photographs from a folder, as crops with masks."""

import hashlib
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.training.config import TrainConfig
from wavepaint.training.masks import random_mask

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
CACHE_BYTES = 2 << 30
"""Decoded photos kept in memory, for all loader processes together: decoding costs more than a small step."""

VAL_SEED = 1_234
"""Validation masks are the same for every run, whatever its seed."""

Sample = tuple[Tensor, Tensor]


def find_photos(folder: Path) -> list[Path]:
    """List the image files below ``folder``, sorted, hidden files left out.

    Raises:
        TrainingError: The folder is missing, unreadable or holds no image file.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder} is not a folder. Give a folder of photos ({', '.join(sorted(SUFFIXES))}).")
    found = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    if not found:
        raise TrainingError(f"{folder} holds no photos: no file below it ends in {', '.join(sorted(SUFFIXES))}.")
    return found


def split_photos(photos: list[Path], root: Path, val_fraction: float) -> tuple[list[Path], list[Path]]:
    """Split by a hash of the path below ``root``, so that a photo stays on its side when others come or go."""

    def share(photo: Path) -> float:
        digest = hashlib.sha256(photo.relative_to(root).as_posix().encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    train = [p for p in photos if share(p) >= val_fraction]
    val = [p for p in photos if share(p) < val_fraction]
    if not val and len(train) > 1:
        val = [min(train, key=share)]
        train.remove(val[0])
    if not train or not val:
        raise TrainingError(f"{root} holds {len(photos)} photo(s): 2 or more are needed to train and to validate.")
    return train, val


def load_photo(path: Path) -> Image.Image:
    """Decode a photo as upright RGB.

    Raises:
        TrainingError: The file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{path} cannot be decoded ({error}). Remove or replace it.") from error


def to_tensor(image_HWC: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image_HWC.transpose(2, 0, 1))).float() / 255


class RandomCrops(Dataset[Sample]):
    """Sample number i of a run: an augmented crop (3, S, S) in [0, 1] and its mask (1, S, S).

    A sample depends on the seed and its number alone, not on which process loads it or where a run was resumed.
    Every photo is seen once before any is seen twice. A photo that cannot be decoded is reported once and its place
    taken by the next one.
    """

    def __init__(self, photos: list[Path], config: TrainConfig) -> None:
        self.photos = photos
        self.config = config
        self._cache: OrderedDict[Path, Image.Image] = OrderedDict()
        self._cached_bytes = 0
        self._broken: set[Path] = set()

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def _photo(self, path: Path) -> Image.Image:
        photo = self._cache.get(path)
        if photo is None:
            photo = load_photo(path)
            size = photo.width * photo.height * 3
            if self._cached_bytes + size <= CACHE_BYTES // max(self.config.workers, 1):
                self._cache[path] = photo
                self._cached_bytes += size
        return photo

    def _next_photo(self, order: NDArray[np.int64], index: int) -> Image.Image:
        for offset in range(len(order)):
            path = self.photos[order[(index + offset) % len(order)]]
            if path in self._broken:
                continue
            try:
                return self._photo(path)
            except TrainingError as error:
                self._broken.add(path)
                warnings.warn(f"skipped: {error}", WavePaintWarning, stacklevel=2)
        raise TrainingError("none of the training photos can be decoded.")

    def __getitem__(self, number: int) -> Sample:
        config = self.config
        epoch, index = divmod(number, len(self.photos))
        order = np.random.default_rng((config.seed, 0, epoch)).permutation(len(self.photos))
        rng = np.random.default_rng((config.seed, 1, number))
        crop = _random_crop(self._next_photo(order, index), config, rng)
        mask = random_mask(config.crop_size, config.crop_size, config.masks, rng)
        return to_tensor(crop), torch.from_numpy(mask)[None].float()


def _random_crop(photo: Image.Image, config: TrainConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale, crop and flip. A photo smaller than the crop is enlarged to fit it."""
    smallest = config.crop_size / min(photo.size)
    low = max(config.min_scale, smallest)
    scale = low if low >= config.max_scale else float(np.exp(rng.uniform(np.log(low), np.log(config.max_scale))))
    side = min(config.crop_size / scale, *photo.size)
    left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    crop = photo.resize(
        (config.crop_size, config.crop_size),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
    )
    array = np.asarray(crop)
    return array[:, ::-1] if rng.random() < 0.5 else array


def load_validation(photos: list[Path], config: TrainConfig) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return the fixed validation pairs: image (S, S, 3) uint8 and mask (S, S) of 0 and 1.

    A photo is scaled so that its shorter side is S, and cropped in the middle.
    """
    size, pairs = config.val_size, []
    for index, path in enumerate(photos):
        photo = ImageOps.fit(load_photo(path), (size, size), Image.Resampling.LANCZOS)
        rng = np.random.default_rng((VAL_SEED, index))
        pairs.append((np.asarray(photo), random_mask(size, size, (config.val_masks,), rng)))
    return pairs
