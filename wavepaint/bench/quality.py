"""Measure a model's quality: PSNR and SSIM inside holes in the user's photos.

The default model was trained on the photos that ship with the package, so they cannot serve here. Photos are scaled so
that their shorter side is the cell's, and cropped in the middle. The holes are the medium validation masks of ``wp
train``, the same in every run.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wavepaint.bench.classical import Pixels
from wavepaint.data.masks import MaskKind, MaskSampler
from wavepaint.data.sources import PhotoSource
from wavepaint.data.validation_set import Pair, load_validation
from wavepaint.evaluation.fill_metrics import MAX_PSNR_DB
from wavepaint.metrics import image_quality

MASKS: MaskKind = "medium"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Means over photos inside the hole: PSNR in dB for a peak of 1, and SSIM."""

    psnr_db: float
    ssim: float


def load_pairs(photos: PhotoSource, side: int) -> list[Pair]:
    """Return photos of one size, (S, S, 3) uint8, with their holes, (S, S).

    Raises:
        TrainingError: No photo can be decoded.
    """
    return load_validation(photos, photos.names, size=side, masks=MaskSampler((MASKS,)))


def measure_quality(fill: Callable[[Pixels, Pixels], Pixels], pairs: Sequence[Pair]) -> Quality:
    """Compare fills with the photos.

    Args:
        fill: Takes an image (S, S, 3) uint8, black in the hole, and its mask, and returns the filled image.
        pairs: See :func:`load_pairs`; at least one.
    """
    scores = []
    for photo, mask in pairs:
        hidden = np.where(mask[..., None] > 0, np.uint8(0), photo)  # no method may see the original
        filled = fill(hidden, mask) / 255
        psnr_db = min(image_quality.psnr(filled, photo / 255, mask), MAX_PSNR_DB)
        scores.append((psnr_db, image_quality.ssim(filled, photo / 255, mask)))
    return Quality(
        psnr_db=statistics.fmean(score[0] for score in scores), ssim=statistics.fmean(score[1] for score in scores)
    )
