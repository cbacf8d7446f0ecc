"""Compare the logits of a classifier or a segmenter with a reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.runtime.engines.case_comparison import CaseComparison, inspect_output, measure_errors

Logits = NDArray[np.float32]
"""(N, classes) or (N, classes, H, W)."""


@dataclass(frozen=True, kw_only=True)
class LogitsComparison(CaseComparison):
    """The difference between output and reference in one case.

    Attributes:
        max_relative_error: ``max_error`` over the range of the reference's logits, zero included; None if
            ``max_error`` is.
        class_agreement: Share of the images, or of a class map's pixels, whose best class is the reference's; None
            if ``max_error`` is.
        num_changed: Number of images or pixels that get another class although the reference's leads by more than the
            allowed error.
    """

    max_relative_error: float | None = None
    class_agreement: float | None = None
    num_changed: int = 0


@dataclass(frozen=True, kw_only=True)
class LogitsBudget:
    """Limits on the difference from the reference.

    Two classes whose logits differ by no more than the allowed error are a tie, and either is right. Any other change
    of the best class fails.

    Attributes:
        max_relative_error: Largest absolute error, divided by the range of the reference's logits, zero included.
    """

    max_relative_error: float

    def compare(
        self, case: str, inputs: Sequence[NDArray[np.float32]], output: Logits, expected: Logits
    ) -> LogitsComparison:
        """Compare an output with the expected one, of one case."""
        measured = LogitsComparison(**inspect_output(case, inputs[0].shape, output))
        if measured.num_not_finite or output.shape != expected.shape:
            return measured
        errors = measure_errors(output, expected)
        scale = measure_range(expected)
        chosen = output.argmax(axis=1, keepdims=True)
        best = expected.argmax(axis=1, keepdims=True)
        lead = np.take_along_axis(expected, best, axis=1) - np.take_along_axis(expected, chosen, axis=1)
        num_changed = int((lead > self.max_relative_error * scale).sum())
        relative = errors["max_error"] / scale
        return replace(
            measured,
            **errors,
            max_relative_error=relative,
            class_agreement=float((chosen == best).mean()),
            num_changed=num_changed,
            passed=relative <= self.max_relative_error and num_changed == 0,
        )

    def summarise(self, comparisons: Sequence[Any]) -> dict[str, Any]:
        """Return a report's keys that only these tasks have."""
        return {
            "max_relative_error": _worst(max, comparisons, "max_relative_error"),
            "class_agreement": _worst(min, comparisons, "class_agreement"),
        }


FLOAT32_LOGITS = LogitsBudget(max_relative_error=1e-5)

HALF_LOGITS = LogitsBudget(max_relative_error=0.02)
"""bfloat16 rounds each value by up to 0.4 %, and errors of many layers add up."""


def measure_range(logits: Logits) -> float:
    """Return the largest minus the smallest logit, zero included; 1 if all are zero."""
    return float(max(logits.max(), 0) - min(logits.min(), 0)) or 1.0


def describe_logits_failure(case: dict[str, Any], budget: dict[str, Any]) -> str:
    """Return why a case in a report failed, whose values are finite."""
    if case["max_error"] is None:
        return "the output has another shape"
    if case["num_changed"]:
        return f"the best class changed in {case['num_changed']} places (allowed none)"
    return (
        f"largest error {case['max_relative_error']:.1e} of the logits' range "
        f"(allowed {budget['max_relative_error']:.1e})"
    )


def _worst(choose: Any, comparisons: Sequence[LogitsComparison], name: str) -> float | None:
    values = [value for comparison in comparisons if (value := getattr(comparison, name)) is not None]
    return choose(values, default=None)  # type: ignore[no-any-return]
