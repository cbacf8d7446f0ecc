"""The part of a comparison with a reference that is the same for fills, logits and images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_POSITIONS = 5
"""Most non-finite values in one case whose positions a report lists."""


@dataclass(frozen=True, kw_only=True)
class CaseComparison:
    """The difference between output and reference in one case.

    Attributes:
        case: Name of the case.
        shape: Shape of the network's first input.
        max_error: Largest absolute error; None if the output is not finite or has the wrong shape.
        mean_error: Mean absolute error; None if ``max_error`` is.
        num_not_finite: Number of values that are NaN or infinite.
        not_finite_at: Positions of the first of them.
        passed: The difference is within the budget.
    """

    case: str
    shape: list[int]
    max_error: float | None = None
    mean_error: float | None = None
    num_not_finite: int
    not_finite_at: list[list[int]]
    passed: bool = False


def inspect_output(case: str, shape: Sequence[int], output: NDArray[np.float32]) -> dict[str, Any]:
    """Return the fields of a :class:`CaseComparison` that need no reference."""
    finite = np.isfinite(output)
    return {
        "case": case,
        "shape": list(shape),
        "num_not_finite": int(output.size - finite.sum()),
        "not_finite_at": np.argwhere(~finite)[:MAX_POSITIONS].tolist(),
    }


def measure_errors(output: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, Any]:
    """Return the errors of a :class:`CaseComparison`. Both have the same shape, and the output is finite."""
    error = np.abs(output.astype(np.float64) - expected)
    return {"max_error": float(error.max()), "mean_error": float(error.mean())}
