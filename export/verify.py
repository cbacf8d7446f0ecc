"""Comparing an exported model with its source, in numbers that decide."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from wavepaint import metrics
from wavepaint.contract import MASK_THRESHOLD, Artifact, Bundle, Report
from wavepaint.errors import BundleError, EngineError, VerificationError
from wavepaint.export.cases import ByteCase, Case, Image, byte_cases, verification_cases
from wavepaint.runtime.engines import Way, find_ways, open_way
from wavepaint.runtime.image import to_levels
from wavepaint.runtime.session import Session
from wavepaint.runtime.tiling import pad_to_multiple

Reference = Callable[[Image, Image], Image]

FLOAT32_MAX_ERROR = 1e-5
"""Largest absolute error allowed in float32, on values in [0, 1]: about a hundred roundings of float32 near 1, and a
four-hundredth of one of 255 levels."""

MAX_PLACES = 5
"""How many places of values that are not finite a report names."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an artifact may differ by.

    Attributes:
        max_error: Largest absolute error, on values in [0, 1]; None does not limit it.
        min_psnr_db: Smallest PSNR inside the hole against the source; None does not limit it.
    """

    max_error: float | None
    min_psnr_db: float | None


FLOAT32_BUDGET = Budget(max_error=FLOAT32_MAX_ERROR, min_psnr_db=90.0)

HALF_MIN_PSNR_DB = 50.0
"""50 dB is an error of 0.8 of 255 levels, root mean square. Single pixels may be further off, so no largest error."""

HALF_BUDGET = Budget(max_error=None, min_psnr_db=HALF_MIN_PSNR_DB)

BYTE_BUDGET = Budget(max_error=1.001 / 255, min_psnr_db=None)
"""One level, where a value just above a half is rounded up by one side and down by the other."""


def budget_of(artifact: Artifact, precision: str) -> Budget:
    """Return the budget of an artifact that is computed in a precision.

    In bfloat16 a form with uint8 edges has that of float edges: it is compiled apart from the graph it is compared
    with, operators are joined otherwise and so rounded elsewhere, and from a half on a step of bfloat16 is a level.
    """
    if artifact.edges == "uint8" and precision != "bfloat16":
        return BYTE_BUDGET
    return FLOAT32_BUDGET if artifact.precision == precision == "float32" else HALF_BUDGET


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One case: what was run and how far the two are apart.

    ``psnr_hole_db`` is None where the outputs are equal there, and so is ``ssim_hole`` without a hole; errors are
    None where the output is not finite.
    """

    case: str
    shape: list[int]
    max_error: float | None
    mean_error: float | None
    psnr_hole_db: float | None
    ssim_hole: float | None
    num_not_finite: int
    not_finite_at: list[list[int]]
    known_identical: bool
    passed: bool


@dataclass(frozen=True)
class Suite:
    """What models with float32 edges are compared with.

    Attributes:
        cases: Inputs.
        expected: For each case what the reference gave, (N, 3, H, W) in [0, 1].
        reference: The reference's name, for people.
    """

    cases: Sequence[Case]
    expected: Sequence[Image]
    reference: str


def make_suite(size_multiple: int, reference: Reference, name: str) -> Suite:
    """Run the reference, a function (image, mask) -> filled, over :func:`verification_cases`."""
    cases = verification_cases(size_multiple)
    return Suite(cases, [reference(image, mask) for _, image, mask in cases], name)


def min_psnr_hole_db(output: Image, expected: Image, mask: Image) -> float:
    """Return the PSNR inside the hole of (N, 3, H, W); infinite for equal values, also where there is no hole."""
    value = metrics.psnr(output.transpose(0, 2, 3, 1), expected.transpose(0, 2, 3, 1), mask[:, 0])
    return math.inf if math.isnan(value) else value


def compare(case: str, image: Image, mask: Image, output: Image, expected: Image, budget: Budget) -> Comparison:
    """Compare an output with what the source gave, all (N, 3, H, W) float32, masks (N, 1, H, W)."""
    hole = np.broadcast_to(mask > 0, image.shape)
    fits = output.shape == expected.shape == image.shape
    finite = np.isfinite(output)
    measured = Comparison(
        case=case,
        shape=list(image.shape),
        max_error=None,
        mean_error=None,
        psnr_hole_db=None,
        ssim_hole=None,
        num_not_finite=int(output.size - finite.sum()),
        not_finite_at=[[int(i) for i in place] for place in itertools.islice(np.argwhere(~finite), MAX_PLACES)],
        known_identical=fits and bool(np.array_equal(output[~hole], image[~hole])),
        passed=False,
    )
    if measured.num_not_finite or not fits:
        return measured
    error = np.abs(output.astype(np.float64) - expected)
    psnr = min_psnr_hole_db(output, expected, mask)
    ssim = metrics.ssim(output.transpose(0, 2, 3, 1), expected.transpose(0, 2, 3, 1), mask[:, 0])
    return replace(
        measured,
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        psnr_hole_db=psnr if math.isfinite(psnr) else None,
        ssim_hole=ssim if math.isfinite(ssim) else None,
        passed=measured.known_identical
        and (budget.max_error is None or bool(error.max() <= budget.max_error))
        and (budget.min_psnr_db is None or psnr >= budget.min_psnr_db),
    )


def verify_session(session: Session, suite: Suite, budget: Budget) -> list[Comparison]:
    """Run every case of a size that the session takes through one with float32 edges and compare."""
    return [
        compare(name, image, mask, session.run(image, mask), expected, budget)
        for (name, image, mask), expected in zip(suite.cases, suite.expected, strict=True)
        if session.takes(len(image), *image.shape[2:])
    ]


def verify_byte_session(
    session: Session, floats: Session, cases: Sequence[ByteCase], budget: Budget
) -> list[Comparison]:
    """Run every case through a session with uint8 edges, and through Python around the one with float32 edges.

    Cases of a size that one of them does not take are left out.
    """
    comparisons = []
    for name, image, mask in cases:
        hole = mask >= MASK_THRESHOLD
        sides = image.shape[1:3]
        if not session.takes(len(image), *sides):
            continue
        inputs = [
            np.stack([pad_to_multiple(one, floats.size_multiple) for one in values]).transpose(0, 3, 1, 2)
            for values in (image.astype(np.float32) / np.float32(255), hole.astype(np.float32))
        ]
        if not floats.takes(len(image), *inputs[0].shape[2:]):
            continue
        filled = floats.run(*map(np.ascontiguousarray, inputs)).transpose(0, 2, 3, 1)[:, : sides[0], : sides[1]]
        expected = np.where(hole, to_levels(filled, image.dtype), image)
        image_NCHW, hole_N1HW, output, expected = (
            values.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(scale)
            for values, scale in ((image, 255), (hole, 1), (session.run(image, mask), 255), (expected, 255))
        )
        comparisons.append(compare(name, image_NCHW, hole_N1HW, output, expected, budget))
    return comparisons


def summarise(reports: Sequence[Report]) -> list[Report]:
    """Return reports for the manifest: as they are, but of the cases only those that failed."""
    return [{**report, "cases": [case for case in report["cases"] if not case["passed"]]} for report in reports]


def make_report(
    comparisons: Sequence[Comparison], budget: Budget, reference: str, session: Session, *, required: bool = True
) -> Report:
    """Return the report as plain values.

    A report is ``required`` to pass where an engine computes in the file's precision or better. Where it reduces it by
    itself, as OpenVINO computes a float32 file in bfloat16, a miss is that engine's: it is noted, and not chosen.
    """

    def values(name: str) -> list[float]:
        found = (getattr(comparison, name) for comparison in comparisons)
        return [value for value in found if value is not None]

    means = values("mean_error")
    return {
        "passed": all(c.passed for c in comparisons),
        "required": required,
        "engine": session.engine,
        "precision": session.precision,
        "reference": reference,
        "budget": asdict(budget),
        "max_error": max(values("max_error"), default=None),
        "mean_error": sum(means) / len(means) if means else None,
        "min_psnr_hole_db": min(values("psnr_hole_db"), default=None),
        "min_ssim_hole": min(values("ssim_hole"), default=None),
        "num_cases": len(comparisons),
        "num_not_finite": sum(c.num_not_finite for c in comparisons),
        "known_identical": all(c.known_identical for c in comparisons),
        "cases": [asdict(c) for c in comparisons],
    }


def describe_failure(report: Report) -> str | None:
    """Say which case failed first and why; None if all passed."""
    for case in report["cases"]:
        if case["passed"]:
            continue
        if case["num_not_finite"]:
            reason = f"{case['num_not_finite']} values are NaN or infinite, the first at {case['not_finite_at'][0]}"
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


def describe_report(report: Report) -> str:
    """Say in one line what a report came to."""
    if "error" in report:
        return f"FAILED to run: {report['error']}"
    lowest = report["min_psnr_hole_db"]
    verdict = "verified" if report["passed"] else "FAILED verification" if report["required"] else "not precise enough"
    return (
        f"{verdict} in {report['engine']} ({report['precision']}), "
        f"{report['num_cases']} cases against {report['reference']}: "
        + ("values that are not finite" if report["max_error"] is None else f"largest error {report['max_error']:.1e}")
        + (f", at least {lowest:.1f} dB inside the hole" if lowest is not None else "")
    )


def require_passed(report: Report) -> None:
    """Raise if a report that has to pass has a case that failed.

    Raises:
        VerificationError: Naming the first such case and what was wrong with it.
    """
    failure = describe_failure(report)
    if failure and report["required"]:
        raise VerificationError(f"{failure}. Nothing was written.")


def verify_artifact(folder: Path, artifact: Artifact, size_multiple: int, suite: Suite) -> list[Report]:
    """Run one form of a model on every engine of this machine that can, and compare.

    Args:
        folder: The bundle's folder.
        artifact: The form. With uint8 edges it is compared with the Python path around its sibling with float32
            edges in the same engine, as named in its details.
        size_multiple: The manifest's.
        suite: What float32 edges are compared with.

    Returns:
        A report for each engine; none if no engine here can run this form.

    Raises:
        EngineError: An engine that should run it fails.
    """
    reports = []
    for way in find_ways(artifact):
        budget, required = budget_of(artifact, way.arithmetic), way.arithmetic in (artifact.precision, "float32")
        # A plan is verified itself or not at all: another one built in its place would say nothing about it.
        with open_way(way, folder / artifact.path, size_multiple, missing="refuse") as session:
            if artifact.edges == "float32":
                comparisons, reference = verify_session(session, suite, budget), suite.reference
            else:
                sibling = sibling_of(artifact)
                reference = f"Python around {sibling.path}"
                floating = replace(way, artifact=sibling)
                with open_way(floating, folder / sibling.path, size_multiple, missing="refuse") as floats:
                    comparisons = verify_byte_session(session, floats, byte_cases(size_multiple), budget)
        if not comparisons:
            raise EngineError(f"{artifact.path} takes none of the sizes it is verified at. Build larger profiles.")
        reports.append(make_report(comparisons, budget, reference, session, required=required))
    return reports


def sibling_of(artifact: Artifact) -> Artifact:
    """Return the form with float32 edges of one with uint8 edges; of a plan's model file nothing is known."""
    details = {key: value for key, value in artifact.details.items() if not key.startswith("onnx")}
    return replace(artifact, path=artifact.details["float_edges"], edges="float32", details=details)


def verify_bundle(
    bundle: Bundle, suite: Suite | None = None, *, on_artifact: Callable[[Artifact], None] = lambda artifact: None
) -> dict[str, list[Report]]:
    """Run every artifact that can run here and compare it.

    Args:
        bundle: A checked bundle.
        suite: What to compare with, usually PyTorch; None takes the bundle's own float32 model in ONNX Runtime.
        on_artifact: Told of each artifact before it is run.

    Returns:
        Reports for every artifact's path; a model that fails to run has a report that failed, with an ``error``.

    Raises:
        BundleError: The manifest is incomplete, or there is no float32 model to compare with.
        EngineError: That float32 model cannot be run.
    """
    manifest = bundle.manifest
    if suite is None:
        artifact = bundle.find_artifact("onnx", "float32")
        own = Way("ort-cpu", artifact, "float32")
        with open_way(own, bundle.path_of(artifact), manifest.size_multiple) as session:
            suite = make_suite(manifest.size_multiple, session.run, f"{artifact.path} in {session.engine}")
    reports: dict[str, list[Report]] = {}
    for artifact in manifest.artifacts:
        on_artifact(artifact)
        try:
            reports[artifact.path] = verify_artifact(bundle.folder, artifact, manifest.size_multiple, suite)
        except EngineError as error:
            reports[artifact.path] = [{"passed": False, "required": True, "error": str(error), "cases": []}]
        except KeyError as error:
            raise BundleError(
                f"the manifest of {bundle.folder} lacks {error} in the details of {artifact.path}. Export it again."
            ) from error
    return reports
