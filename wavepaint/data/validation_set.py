"""The validation photos with their masks, which are the same for every run. Needs no PyTorch."""

import warnings
from collections.abc import Sequence

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
    """Scale a photo so that its shorter side is ``size`` pixels and crop it in the middle: (S, S, 3)."""
    return np.asarray(ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS))


def load_validation(
    source: PhotoSource,
    names: Sequence[str],
    *,
    size: int,
    masks: MaskSampler,
    max_photos: int | None = None,
    max_broken: int = MAX_BROKEN,
) -> list[Pair]:
    """Return the fixed validation pairs: image (S, S, 3) uint8 and mask (S, S) of 0 and 1.

    A photo is scaled so that its shorter side is S, and cropped in the middle. One that cannot be decoded is reported
    and left out; the others keep their masks.

    Args:
        source: Where the photos are.
        names: Those to validate on.
        size: S, in pixels.
        masks: Draws the masks; the same for every run.
        max_photos: Take so many, evenly spread over the names; None takes all. They stay in memory.
        max_broken: With more broken photos than this, an error.

    Raises:
        TrainingError: None can be decoded, or too many cannot.
    """
    number = len(names) if max_photos is None else min(max_photos, len(names))
    pairs: list[Pair] = []
    num_broken = 0
    for index in range(number):
        rng = np.random.default_rng((VAL_SEED, index))
        try:
            photo = fit_photo(source.read(names[index * len(names) // number]), size)
        except TrainingError as error:
            num_broken += 1
            if num_broken > max_broken:
                raise TrainingError(
                    f"more than {max_broken} validation photos are broken; the last: {error}"
                ) from error
            warnings.warn(f"skipped: {error}", WavePaintWarning, stacklevel=2)
            continue
        pairs.append((photo, masks(size, size, rng)))
    if not pairs:
        raise TrainingError(f"{source.root} leaves no photo to validate on. Give more photos, or --val-data.")
    return pairs
