"""The Frechet distance against closed forms and scipy."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.errors import ConfigError
from wavepaint.metrics.frechet import check_num_samples, compare_features, measure_frechet


def make_gaussian(rng: np.random.Generator, size: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    factor = rng.standard_normal((size, rank))
    return rng.standard_normal(size), factor @ factor.T


def test_distance_is_that_of_scipys_matrix_square_root() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        (mean_a, cov_a), (mean_b, cov_b) = make_gaussian(rng, 24, 40), make_gaussian(rng, 24, 40)
        root = scipy.linalg.sqrtm(cov_a @ cov_b)
        expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root.real)
        assert measure_frechet(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-10)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 5), st.floats(0, 5))
def test_distance_in_one_dimension_is_that_of_means_and_deviations(m1: float, m2: float, s1: float, s2: float) -> None:
    found = measure_frechet(np.array([m1]), np.array([[s1**2]]), np.array([m2]), np.array([[s2**2]]))
    assert found == pytest.approx((m1 - m2) ** 2 + (s1 - s2) ** 2, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_distance_is_symmetric_not_negative_and_zero_only_for_equal_gaussians(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = make_gaussian(rng, 8, rank), make_gaussian(rng, 8, rank)
    assert measure_frechet(*a, *b) == pytest.approx(measure_frechet(*b, *a), rel=1e-6, abs=1e-6)
    assert measure_frechet(*a, *b) > 0.01
    assert measure_frechet(*a, *a) == pytest.approx(0, abs=1e-6)


def test_equal_covariances_that_turn_by_an_orthogonal_matrix_keep_the_distance() -> None:
    rng = np.random.default_rng(1)
    (mean_a, cov_a), (mean_b, cov_b) = make_gaussian(rng, 6, 9), make_gaussian(rng, 6, 9)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    turned = measure_frechet(turn @ mean_a, turn @ cov_a @ turn.T, turn @ mean_b, turn @ cov_b @ turn.T)
    assert turned == pytest.approx(measure_frechet(mean_a, cov_a, mean_b, cov_b), rel=1e-10)


def test_features_are_compared_by_their_sample_moments() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((40, 5)).astype(np.float32), 2 * rng.standard_normal((30, 5)).astype(np.float32) + 1
    moments = [moment for x in (a, b) for moment in (x.mean(0, np.float64), np.cov(x, rowvar=False, dtype=np.float64))]
    assert compare_features(a, b) == pytest.approx(measure_frechet(*moments), rel=1e-12)
    assert compare_features(a, a[::-1] + 3) == pytest.approx(45, rel=1e-5)


def test_too_few_samples_for_a_covariance_are_refused() -> None:
    check_num_samples(257, 256)
    with pytest.raises(ConfigError, match=r"FID needs more photos .* 2048, and there are 2048: .*AlexNet has 256"):
        check_num_samples(2048, 2048, "FID")
    with pytest.raises(ConfigError, match="there are 5: add photos, or leave the distance out"):
        compare_features(np.zeros((9, 5)), np.zeros((5, 5)))
