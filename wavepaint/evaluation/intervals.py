"""Means and other statistics with bootstrapped confidence intervals.

Photos are resampled, not fills, because the fills of one photo resemble each other: B. Efron and R. Tibshirani, "An
Introduction to the Bootstrap" (1993), sections 8.2 and 13.3 (the percentile interval).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
_BATCH_CELLS = 5_000_000
"""Largest number of photo counts, or of sums, in memory."""


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
    return [Estimate(*map(float, row)) for row in zip(means, *_find_bounds(resampled), strict=True)]


def estimate_from_sums(
    values_NM: NDArray[Any], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int
) -> list[Estimate]:
    """Return statistics of the sum of each column over all photos, with their intervals.

    Args:
        values_NM: M numbers of each of N photos.
        statistic: Returns K statistics of each of R rows of sums, (R, M) -> (R, K).
        seed: Seed of the resampling.
    """
    values = np.asarray(values_NM, np.float64)
    whole = statistic(values.sum(axis=0, keepdims=True))[0]
    if len(values) < 2:
        return [Estimate(float(value), None, None) for value in whole]
    counts = _draw_counts(len(values), seed, width=values.shape[1])
    resampled = np.concatenate([statistic(times @ values) for times in counts])
    return [Estimate(*map(float, row)) for row in zip(whole, *_find_bounds(resampled), strict=True)]


def _find_bounds(resampled: NDArray[np.float64]) -> Any:
    """Return the bounds of the interval of each column."""
    return np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)


def _draw_counts(num_photos: int, seed: int, *, width: int = 1) -> Iterator[NDArray[np.int64]]:
    """Yield, in batches, how often each resample has each photo; ``width`` is the number of sums of a resample."""
    rng = np.random.default_rng(seed)
    batch = max(_BATCH_CELLS // max(num_photos, width), 1)
    for start in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - start)
        yield rng.multinomial(num_photos, np.full(num_photos, 1 / num_photos), size=size)
