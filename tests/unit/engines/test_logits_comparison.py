"""Logits pass if they are close for their range and no clear best class changes."""

import numpy as np
import pytest

from wavepaint.runtime.engines.logits_comparison import FLOAT32_LOGITS, LogitsBudget, describe_logits_failure

IMAGE = np.zeros((2, 3, 8, 8), np.float32)
EXPECTED = np.array([[0.0, 10.0, 4.0], [-10.0, 3.0, 2.999]], np.float32)  # the range is 20
BUDGET = LogitsBudget(max_relative_error=0.01)  # an error of 0.2


def change(row: int, column: int, difference: float) -> np.ndarray:
    output = EXPECTED.copy()
    output[row, column] += difference
    return output


def test_equal_logits_pass() -> None:
    compared = FLOAT32_LOGITS.compare("case", [IMAGE], EXPECTED, EXPECTED)
    assert compared.passed
    assert (compared.max_error, compared.max_relative_error, compared.class_agreement) == (0, 0, 1)


def test_the_error_is_relative_to_the_range() -> None:
    assert BUDGET.compare("case", [IMAGE], change(0, 0, 0.19), EXPECTED).passed
    compared = BUDGET.compare("case", [IMAGE], change(0, 0, 0.22), EXPECTED)
    assert not compared.passed
    assert compared.max_relative_error == pytest.approx(0.011, rel=1e-3)


def test_a_tie_within_the_error_may_be_broken_either_way() -> None:
    compared = BUDGET.compare("case", [IMAGE], change(1, 2, 0.01), EXPECTED)
    assert compared.passed
    assert compared.class_agreement == 0.5
    assert not FLOAT32_LOGITS.compare("case", [IMAGE], change(1, 2, 0.01), EXPECTED).passed


def test_a_clear_class_that_changes_fails_although_each_error_is_small() -> None:
    """Two errors of 0.19 in opposite directions turn over a lead of 0.3."""
    expected = np.array([[20.0, 19.7]], np.float32)
    output = np.array([[19.81, 19.89]], np.float32)
    compared = BUDGET.compare("case", [IMAGE], output, expected)
    assert compared.max_relative_error is not None
    assert compared.max_relative_error < 0.01
    assert (compared.num_changed, compared.passed) == (1, False)
    assert "the best class changed in 1 places" in describe_logits_failure(vars(compared), {"max_relative_error": 0.01})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_fail(value: float) -> None:
    compared = BUDGET.compare("case", [IMAGE], change(0, 1, value), EXPECTED)
    assert (compared.num_not_finite, compared.not_finite_at, compared.passed) == (1, [[0, 1]], False)


def test_another_shape_fails() -> None:
    compared = BUDGET.compare("case", [IMAGE], EXPECTED[:, :2], EXPECTED)
    assert not compared.passed
    assert describe_logits_failure(vars(compared), {"max_relative_error": 0.01}) == "the output has another shape"


def test_logits_of_zero_have_a_range() -> None:
    assert BUDGET.compare("case", [IMAGE], np.zeros_like(EXPECTED), np.zeros_like(EXPECTED)).passed
