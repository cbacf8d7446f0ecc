"""Compare the images of a network for super-resolution with a reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(N, 3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class ImageComparison:
    """The difference between output and reference in one case.

    The errors are None if the output is not finite or has the wrong shape; ``psnr_db`` also if both are equal.

    Attributes:
        case: Name of the case.
        shape: Shape of the network's input.
        max_error: Largest absolute error.
        mean_error: Mean absolute error.
        psnr_db: PSNR for a peak of 1.
        num_not_finite: Number of values that are NaN or infinite.
        not_finite_at: Positions of the first of them.
        passed: The errors are within the budget.
    """

    case: str
    shape: list[int]
    max_error: float | None
    mean_error: float | None
    psnr_db: float | None
    num_not_finite: int
    not_finite_at: list[list[int]]
    passed: bool


@dataclass(frozen=True, kw_only=True)
class ImageBudget:
    """Limits on the difference from the reference.

    Attributes:
        max_error: Largest absolute error, for values in [0, 1]; None for no limit.
        min_psnr_db: Smallest PSNR.
    """

    max_error: float | None
    min_psnr_db: float

    def compare(self, case: str, inputs: Sequence[Image], output: Image, expected: Image) -> ImageComparison:
        """Compare an output with the expected one, of one case."""
        finite = np.isfinite(output)
        measured = ImageComparison(
            case=case,
            shape=list(inputs[0].shape),
            max_error=None,
            mean_error=None,
            psnr_db=None,
            num_not_finite=int(output.size - finite.sum()),
            not_finite_at=np.argwhere(~finite)[:5].tolist(),
            passed=False,
        )
        if measured.num_not_finite or output.shape != expected.shape:
            return measured
        error = np.abs(output.astype(np.float64) - expected)
        psnr_db = measure_psnr_db(output, expected)
        return replace(
            measured,
            max_error=float(error.max()),
            mean_error=float(error.mean()),
            psnr_db=psnr_db if math.isfinite(psnr_db) else None,
            passed=(self.max_error is None or bool(error.max() <= self.max_error)) and psnr_db >= self.min_psnr_db,
        )

    def summarise(self, comparisons: Sequence[Any]) -> dict[str, Any]:
        """Return a report's keys that only this task has."""
        found = [one.psnr_db for one in comparisons if one.psnr_db is not None]
        return {"min_psnr_db": min(found, default=None)}


def measure_psnr_db(output: Image, expected: Image) -> float:
    """Return the PSNR in dB for a peak of 1; infinite for equal images."""
    squared = float(np.square(output.astype(np.float64) - expected).mean())
    return -10 * math.log10(squared) if squared else math.inf


def describe_image_failure(case: dict[str, Any], budget: dict[str, Any]) -> str:
    """Return why a case in a report failed, whose values are finite."""
    if case["max_error"] is None:
        return "the output has another shape"
    most = "any" if budget["max_error"] is None else f"{budget['max_error']:.1e}"
    found = "infinite" if case["psnr_db"] is None else f"{case['psnr_db']:.1f}"
    return (
        f"largest error {case['max_error']:.1e} (allowed {most}), PSNR {found} dB (at least {budget['min_psnr_db']:g})"
    )
