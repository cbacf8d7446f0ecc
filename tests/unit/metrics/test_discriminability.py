"""U-IDS and P-IDS: what a linear classifier can tell apart, and what it cannot."""

import numpy as np
import pytest

from wavepaint.errors import ConfigError
from wavepaint.metrics.discriminability import measure_discriminability


def draw(count: int, centre: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(centre, 1, (count, 4))


def test_fills_like_photos_are_taken_for_photos_half_of_the_time() -> None:
    found = measure_discriminability(draw(2_000, 0, 0), draw(2_000, 0, 1))
    assert found.unpaired == pytest.approx(0.5, abs=0.03)
    assert found.paired == pytest.approx(0.5, abs=0.05)


def test_fills_unlike_photos_are_all_found() -> None:
    assert measure_discriminability(draw(50, 0, 0), draw(50, 20, 1)) == (0, 0)


def test_shares_of_two_overlapping_gaussians_are_those_of_theory() -> None:
    """At a distance d of the means, the best plane errs by Phi(-d/2), and a pair is reversed by Phi(-d/sqrt 2)."""
    found = measure_discriminability(draw(4_000, 0, 0), draw(4_000, 1, 1))  # d is 2 in four dimensions
    assert found.unpaired == pytest.approx(0.1587, abs=0.015)
    assert found.paired == pytest.approx(0.0786, abs=0.015)


def test_fewer_photos_than_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="U-IDS needs more photos"):
        measure_discriminability(draw(4, 0, 0), draw(4, 0, 1))
