"""Bootstrapped intervals."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.evaluation import intervals
from wavepaint.evaluation.intervals import Estimate, estimate_from_sums, estimate_means


def test_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(2, 1, 80)
    (own,) = estimate_means(values[:, None], [str(i) for i in range(80)], seed=0)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert own.mean == pytest.approx(values.mean())
    width = expected.high - expected.low
    assert own.low == pytest.approx(expected.low, abs=0.1 * width)
    assert own.high == pytest.approx(expected.high, abs=0.1 * width)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(40)]
    found = estimate_means(rng.normal(1, 2, (40, 200)), names, seed=3)
    covered = sum(one.low <= 1 <= one.high for one in found)  # type: ignore[operator]
    assert 0.90 <= covered / 200 <= 0.98


def test_several_fills_of_a_photo_do_not_make_the_interval_narrower() -> None:
    values, names = np.random.default_rng(0).normal(0, 1, (30, 2)), [str(i) for i in range(30)]
    once = estimate_means(values, names, seed=0)
    five_times = estimate_means(values.repeat(5, axis=0), np.repeat(names, 5).tolist(), seed=0)
    np.testing.assert_allclose(np.array(five_times, float), np.array(once, float))


def test_photos_with_more_fills_weigh_more_in_every_resample() -> None:
    (one,) = estimate_means(np.array([[1.0], [1.0], [1.0], [5.0]]), ["a", "a", "a", "b"], seed=0)
    assert one == Estimate(2, 1, 5)


def test_seed_decides_the_interval_and_batches_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = np.random.default_rng(0).normal(0, 1, (20, 1)), [str(i) for i in range(20)]
    first = estimate_means(values, names, seed=7)
    assert estimate_means(values, names, seed=7) == first
    assert estimate_means(values, names, seed=8) != first
    monkeypatch.setattr(intervals, "_BATCH_CELLS", 300)
    assert estimate_means(values, names, seed=7) == first


def test_one_photo_has_a_mean_and_no_interval() -> None:
    assert estimate_means(np.array([[1.0], [2.0]]), ["a", "a"], seed=0) == [Estimate(1.5, None, None)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.integers(0, 99))
def test_interval_lies_within_the_values_and_holds_its_order(values: list[float], seed: int) -> None:
    (one,) = estimate_means(np.array(values)[:, None], [str(i) for i in range(len(values))], seed=seed)
    assert one.low is not None
    assert one.high is not None
    assert min(values) - 1e-9 <= one.low <= one.high <= max(values) + 1e-9


def test_a_statistic_of_sums_has_the_interval_of_the_mean_that_it_is() -> None:
    """The first column divided by the number of photos is their mean."""
    values = np.column_stack([np.random.default_rng(0).gamma(2, 1, 30), np.ones(30)])
    found = estimate_from_sums(values, lambda sums: sums[:, :1] / sums[:, 1:], seed=0)
    expected = estimate_means(values[:, :1], [f"{i:02}" for i in range(30)], seed=0)
    np.testing.assert_allclose(np.array(found, float), np.array(expected, float))
    assert estimate_from_sums(values[:1], lambda sums: sums, seed=0)[1] == Estimate(1.0, None, None)
