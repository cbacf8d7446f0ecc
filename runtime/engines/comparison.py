"""Compare the output of a session with a reference, and decide whether it passes.

Exports are compared with their source, and sessions on this machine with the bundle's float32 model.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import IMAGE_CHANNELS, INPAINTING, SUPER_RESOLUTION, Artifact, Report, Task
from wavepaint.metrics import image_quality
from wavepaint.runtime.engines.case_comparison import CaseComparison, inspect_output, measure_errors
from wavepaint.runtime.engines.image_comparison import ImageBudget, describe_image_failure
from wavepaint.runtime.engines.logits_comparison import (
    FLOAT32_LOGITS,
    HALF_LOGITS,
    LogitsBudget,
    describe_logits_failure,
)
from wavepaint.runtime.engines.session import Session

Image = NDArray[np.float32]

FLOAT32_MAX_ERROR = 1e-5
"""Largest absolute error allowed in float32, for values in [0, 1]: about 100 rounding errors of float32 near 1, or
1/400 of an 8-bit level."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits on the difference from the reference.

    Attributes:
        max_error: Largest absolute error, for values in [0, 1]; None for no limit.
        min_psnr_db: Smallest PSNR inside the hole; None for no limit.
    """

    max_error: float | None
    min_psnr_db: float | None

    def compare(self, case: str, inputs: Sequence[Image], output: Image, expected: Image) -> "Comparison":
        """Compare a fill of (image, mask) with the expected one; see :func:`compare`."""
        image, mask = inputs
        return compare(case, image, mask, output, expected, self)

    def summarise(self, comparisons: Sequence["Comparison"]) -> dict[str, Any]:
        """Return a report's keys that only inpainting has."""
        return {
            "min_psnr_hole_db": min(_values(comparisons, "psnr_hole_db"), default=None),
            "min_ssim_hole": min(_values(comparisons, "ssim_hole"), default=None),
            "known_identical": all(c.known_identical for c in comparisons),
        }


AnyBudget = Budget | LogitsBudget | ImageBudget
"""A budget compares the outputs of its tasks and judges the difference."""

FLOAT32_BUDGET = Budget(max_error=FLOAT32_MAX_ERROR, min_psnr_db=90.0)

HALF_MIN_PSNR_DB = 50.0
"""50 dB is a root mean square error of 0.8 of an 8-bit level. Single pixels may differ more, so the largest error has
no limit."""

HALF_BUDGET = Budget(max_error=None, min_psnr_db=HALF_MIN_PSNR_DB)

FLOAT32_IMAGE = ImageBudget(max_error=FLOAT32_MAX_ERROR, min_psnr_db=90.0)
HALF_IMAGE = ImageBudget(max_error=None, min_psnr_db=HALF_MIN_PSNR_DB)

BYTE_BUDGET = Budget(max_error=1.001 / 255, min_psnr_db=None)
"""One 8-bit level: a value halfway between two levels may be rounded up on one side and down on the other."""


def choose_budget(artifact: Artifact, precision: str, task: Task = INPAINTING) -> AnyBudget:
    """Return the budget of a task's artifact that is computed in a precision.

    A form with uint8 inputs and outputs is compared with the form with float32 inputs and outputs. In bfloat16 it gets
    the budget for half precision: the two forms are compiled separately, so they fuse and round differently, and
    between 0.5 and 1 one step of bfloat16 is a whole level.
    """
    if artifact.io_dtype == "uint8" and precision != "bfloat16":
        return BYTE_BUDGET
    is_exact = artifact.precision == precision == "float32"
    return _choose_float_budget(task, is_exact=is_exact, is_rounded=artifact.details.get("rounded", False))


def _choose_float_budget(task: Task, *, is_exact: bool, is_rounded: bool) -> AnyBudget:
    if task.has_classes:
        return FLOAT32_LOGITS if is_exact else HALF_LOGITS
    if task is SUPER_RESOLUTION:
        return FLOAT32_IMAGE if is_exact else HALF_IMAGE
    if is_exact and is_rounded:
        return BYTE_BUDGET
    return FLOAT32_BUDGET if is_exact else HALF_BUDGET


@dataclass(frozen=True, kw_only=True)
class Comparison(CaseComparison):
    """The difference between a fill and its reference in one case.

    Attributes:
        psnr_hole_db: PSNR inside the hole for a peak of 1; None if ``max_error`` is, or if both are equal there.
        ssim_hole: SSIM inside the hole; None if ``max_error`` is, or if there is no hole.
        known_identical: Known pixels are the input's, bit for bit.
    """

    psnr_hole_db: float | None = None
    ssim_hole: float | None = None
    known_identical: bool


def measure_psnr_hole_db(output: Image, expected: Image, mask: Image) -> float:
    """Return the PSNR in dB inside the holes of a batch (N, 3, H, W); infinite for equal values and without a hole."""
    value = image_quality.psnr(output.transpose(0, 2, 3, 1), expected.transpose(0, 2, 3, 1), mask[:, 0])
    return math.inf if math.isnan(value) else value


def compare(case: str, image: Image, mask: Image, output: Image, expected: Image, budget: Budget) -> Comparison:
    """Compare an output with the expected one; images are (N, 3, H, W) float32, the mask (N, 1, H, W)."""
    hole = np.broadcast_to(mask > 0, image.shape)
    fits = output.shape == expected.shape == image.shape
    known_identical = fits and bool(np.array_equal(output[~hole], image[~hole]))
    measured = Comparison(**inspect_output(case, image.shape, output), known_identical=known_identical)
    if measured.num_not_finite or not fits:
        return measured
    errors = measure_errors(output, expected)
    psnr = measure_psnr_hole_db(output, expected, mask)
    ssim = image_quality.ssim(output.transpose(0, 2, 3, 1), expected.transpose(0, 2, 3, 1), mask[:, 0])
    return replace(
        measured,
        **errors,
        psnr_hole_db=psnr if math.isfinite(psnr) else None,
        ssim_hole=ssim if math.isfinite(ssim) else None,
        passed=known_identical
        and (budget.max_error is None or errors["max_error"] <= budget.max_error)
        and (budget.min_psnr_db is None or psnr >= budget.min_psnr_db),
    )


def _values(comparisons: Sequence[CaseComparison], name: str) -> list[float]:
    """Return what was measured under a name; cases without the value are left out."""
    found = (getattr(comparison, name) for comparison in comparisons)
    return [value for value in found if value is not None]


def make_report(
    comparisons: Sequence[CaseComparison], budget: AnyBudget, reference: str, session: Session, *, required: bool = True
) -> Report:
    """Return the report as plain values.

    A report is ``required`` to pass if the engine computes in the file's precision or a higher one. If the engine
    reduces the precision itself, as OpenVINO does when it computes a float32 file in bfloat16, a failure only means
    that ``auto`` does not choose the engine in this precision.
    """
    means = _values(comparisons, "mean_error")
    report: dict[str, Any] = {
        "passed": all(c.passed for c in comparisons),
        "required": required,
        "engine": session.engine,
        "device": session.device,
        "precision": session.precision,
        "weights": session.weights,
        "reference": reference,
        "budget": asdict(budget),
        "max_error": max(_values(comparisons, "max_error"), default=None),
        "mean_error": sum(means) / len(means) if means else None,
        "num_cases": len(comparisons),
        "num_not_finite": sum(c.num_not_finite for c in comparisons),
        **budget.summarise(comparisons),  # type: ignore[arg-type]  # comparisons by this budget
        "cases": [asdict(c) for c in comparisons],
    }
    return cast(Report, {key: report[key] for key in Report.__annotations__ if key in report})


def describe_failure(report: Report) -> str | None:
    """Return the first failed case and the reason, or why the model did not run; None if all cases passed."""
    if "error" in report:
        return f"{report['engine']} ({report['precision']}) failed to run: {report['error']}"
    for case in report["cases"]:
        if case["passed"]:
            continue
        if case["num_not_finite"]:
            reason = f"{case['num_not_finite']} values are NaN or infinite, the first at {case['not_finite_at'][0]}"
        elif "num_changed" in case:
            reason = describe_logits_failure(case, report["budget"])
        elif "psnr_db" in case:
            reason = describe_image_failure(case, report["budget"])
        elif not case["known_identical"]:
            reason = "pixels outside the hole were changed"
        else:
            limits = report["budget"]
            most = "any" if limits["max_error"] is None else f"{limits['max_error']:.1e}"
            least = "any" if limits["min_psnr_db"] is None else f"at least {limits['min_psnr_db']:g}"
            found = "infinite" if case["psnr_hole_db"] is None else f"{case['psnr_hole_db']:.1f}"
            reason = (
                f"largest error {case['max_error']:.1e} (allowed {most}), PSNR inside the hole {found} dB ({least})"
            )
        return f"{report['engine']} differs from {report['reference']} in the case '{case['case']}': {reason}"
    return None


def check_session(session: Session, reference: Session) -> Report:
    """Compare a session with the bundle's float32 model on the CPU, both with float32 inputs and outputs.

    Args:
        session: The session to check, at the sizes that it lists for this.
        reference: The float32 model.

    Raises:
        EngineError: One of the two fails to run.
    """
    exact = session.precision == session.weights == "float32"
    budget = _choose_float_budget(session.task, is_exact=exact, is_rounded=session.is_rounded)
    comparisons = []
    for size in session.list_sizes_to_check():
        inputs = _make_case(*size)[: len(session.task.inputs)]
        name = "{}x{}x{}".format(*size)
        comparisons.append(budget.compare(name, inputs, session.run(*inputs), reference.run(*inputs)))
    return make_report(comparisons, budget, f"{reference.path.name} in {reference.engine}", session)


def _make_case(batch: int, height: int, width: int) -> tuple[Image, Image]:
    """Return noisy ramps (N, 3, H, W) and a mask (N, 1, H, W) with scattered holes above and a box below, float32."""
    rng = np.random.default_rng(0)
    image = rng.random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32) / np.float32(2)
    image += np.linspace(0, 0.5, width, dtype=np.float32)
    mask = (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)
    mask[..., height // 2 :, :] = 0
    mask[..., height // 2 :, width // 4 : width // 2 + 1] = 1
    return image, mask
