"""Means with bootstrapped confidence intervals.

Photos are resampled, not fills, because the fills of one photo resemble each other: B. Efron and R. Tibshirani, "An
Introduction to the Bootstrap" (1993), sections 8.2 and 13.3 (the percentile interval).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
_BATCH_CELLS = 5_000_000
"""Largest number of photo counts in memory."""


class Estimate(NamedTuple):
    """A mean and the bounds of its 95 % interval; None for the mean over one photo, which shows no spread."""

    mean: float
    low: float | None
    high: float | None


def estimate_means(values_NM: NDArray[np.floating[Any]], photos: Sequence[str], seed: int) -> list[Estimate]:
    """Return the mean of each column, with its interval.

    Args:
        values_NM: M scores of N fills.
        photos: The photo of each fill.
        seed: Seed of the resampling. The same seed and values give the same interval.
    """
    values = np.asarray(values_NM, np.float64)
    means = values.mean(axis=0)
    names, index = np.unique(np.asarray(photos), return_inverse=True)
    if len(names) < 2:
        return [Estimate(float(mean), None, None) for mean in means]
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, index, values)
    fills = np.bincount(index)
    resampled = np.concatenate([counts @ sums / (counts @ fills)[:, None] for counts in _draw_counts(len(names), seed)])
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return [Estimate(*map(float, row)) for row in zip(means, low, high, strict=True)]


def _draw_counts(num_photos: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield, in batches, how often each resample has each photo."""
    rng = np.random.default_rng(seed)
    batch = max(_BATCH_CELLS // num_photos, 1)
    for start in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - start)
        yield rng.multinomial(num_photos, np.full(num_photos, 1 / num_photos), size=size)
