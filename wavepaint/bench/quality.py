"""How well a model fills: PSNR and SSIM inside the holes of photos that the reader brings.

The package ships no photos for this: those that exports are verified on were trained on. Photos are scaled so that
their shorter side is the cell's and cropped in the middle; the holes are the medium ones of ``wp train``'s validation,
the same every time.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from wavepaint import metrics
from wavepaint.bench.classical import Pixels
from wavepaint.errors import ConfigError
from wavepaint.training.masks import MaskKind, random_mask

MASKS: MaskKind = "medium"
MASK_SEED = 1_234
"""The validation's; training/data.py needs PyTorch, which a race does not."""

MAX_PSNR_DB = 100.0
"""A hole that is filled without any error counts so much, lest one such photo decide a mean."""

Pair = tuple[Pixels, Pixels]
"""A photo (S, S, 3) and its mask (S, S) of 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Means over pairs, inside the hole: PSNR in dB for a peak of 1, and SSIM."""

    psnr_db: float
    ssim: float


def find_photos(folder: Path) -> list[Path]:
    """List the image files below a folder, sorted, hidden files left out.

    Raises:
        ConfigError: There is no such folder, or no image file in it.
    """
    kinds = {suffix for suffix, name in Image.registered_extensions().items() if name in ("JPEG", "PNG", "WEBP")}
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds and not path.name.startswith("."))
    if not found:
        raise ConfigError(f"{folder} is no folder with photos: expected JPEG, PNG or WebP files below it (--photos).")
    return found


def load_pairs(photos: Sequence[Path], side: int) -> list[Pair]:
    """Return photos of a size with their holes.

    Raises:
        ConfigError: A photo cannot be decoded.
    """
    pairs: list[Pair] = []
    for index, path in enumerate(photos):
        try:
            with Image.open(path) as image:
                photo = ImageOps.fit(
                    ImageOps.exif_transpose(image).convert("RGB"), (side, side), Image.Resampling.LANCZOS
                )
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ConfigError(f"{path} cannot be decoded ({error}). Remove or replace it (--photos).") from error
        mask = random_mask(side, side, (MASKS,), np.random.default_rng((MASK_SEED, index)))
        pairs.append((np.asarray(photo), mask))
    return pairs


def measure_quality(fill: Callable[[Pixels, Pixels], Pixels], pairs: Sequence[Pair]) -> Quality:
    """Return how near a filling comes to the photos.

    Args:
        fill: Takes an image (S, S, 3) uint8, black in the hole, and its mask, and returns the filled image.
        pairs: See :func:`load_pairs`; at least one.
    """
    scores = []
    for photo, mask in pairs:
        hidden = np.where(mask[..., None] > 0, np.uint8(0), photo)  # nobody may see what it has to guess
        filled = fill(hidden, mask) / 255
        psnr_db = min(metrics.psnr(filled, photo / 255, mask), MAX_PSNR_DB)
        scores.append((psnr_db, metrics.ssim(filled, photo / 255, mask)))
    return Quality(
        psnr_db=statistics.fmean(score[0] for score in scores), ssim=statistics.fmean(score[1] for score in scores)
    )
