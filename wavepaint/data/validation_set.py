"""Validation photos with fixed masks, the same for every run."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import PhotoSource
from wavepaint.errors import TrainingError, WavePaintWarning

VAL_SEED = 1_234
MAX_BROKEN = 100

Pixels = NDArray[np.uint8]
Pair = tuple[Pixels, Pixels]
"""A photo (S, S, 3) and its mask (S, S) of 0 and 1."""


def fit_photo(photo: Image.Image, size: int) -> Pixels:
    """Scale a photo to a shorter side of ``size`` pixels and crop its centre: (S, S, 3)."""
    return np.asarray(ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS))


def read_photos(
    source: PhotoSource, names: Sequence[str], max_broken: int = MAX_BROKEN
) -> Iterator[tuple[int, Image.Image]]:
    """Yield the index and the pixels of each photo that can be decoded, and report the others.

    Raises:
        TrainingError: More than ``max_broken`` photos are broken.
    """
    num_broken = 0
    for index, name in enumerate(names):
        try:
            photo = source.read(name)
        except TrainingError as error:
            num_broken += 1
            if num_broken > max_broken:
                raise TrainingError(f"more than {max_broken} photos are broken; the last: {error}") from error
            warnings.warn(f"skipped: {error}", WavePaintWarning, stacklevel=2)
            continue
        yield index, photo


def load_validation(
    source: PhotoSource,
    names: Sequence[str],
    *,
    size: int,
    masks: MaskSampler,
    max_photos: int | None = None,
    max_broken: int = MAX_BROKEN,
) -> list[Pair]:
    """Load validation pairs: image (S, S, 3) uint8 and mask (S, S) of 0 and 1.

    Photos are scaled to a shorter side of S and cropped in the centre. Undecodable photos are reported and left out;
    the others keep their masks.

    Args:
        source: The photos.
        names: Names of the validation photos.
        size: S, in pixels.
        masks: The mask sampler. The masks are the same for every run.
        max_photos: Largest number of photos, spread evenly over the names; None loads all of them into memory.
        max_broken: Number of broken photos above which loading fails.

    Raises:
        TrainingError: No photo can be decoded, or too many cannot.
    """
    count = len(names) if max_photos is None else min(max_photos, len(names))
    chosen = [names[index * len(names) // count] for index in range(count)]
    pairs: list[Pair] = []
    for index, photo in read_photos(source, chosen, max_broken):
        rng = np.random.default_rng((VAL_SEED, index))
        pairs.append((fit_photo(photo, size), masks(size, size, rng)))
    if not pairs:
        raise TrainingError(
            f"{source.root} leaves no photo to validate on: none of the {count} held out can be decoded. Remove "
            "the broken photos, or name others (--val-data)."
        )
    return pairs
