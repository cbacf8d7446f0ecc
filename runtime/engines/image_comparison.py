"""Compare the images of a network for super-resolution with a reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.runtime.engines.case_comparison import CaseComparison, inspect_output, measure_errors

Image = NDArray[np.float32]
"""(N, 3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class ImageComparison(CaseComparison):
    """The difference between output and reference in one case.

    Attributes:
        psnr_db: PSNR for a peak of 1; None if ``max_error`` is, or if both are equal.
    """

    psnr_db: float | None = None


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
        measured = ImageComparison(**inspect_output(case, inputs[0].shape, output))
        if measured.num_not_finite or output.shape != expected.shape:
            return measured
        errors = measure_errors(output, expected)
        psnr_db = measure_psnr_db(output, expected)
        return replace(
            measured,
            **errors,
            psnr_db=psnr_db if math.isfinite(psnr_db) else None,
            passed=(self.max_error is None or errors["max_error"] <= self.max_error) and psnr_db >= self.min_psnr_db,
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
