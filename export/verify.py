"""Verify exported models: run them on every engine here, compare them with a reference, and report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wavepaint.contract import MASK_THRESHOLD, Artifact, Bundle, Model, PadMode, Report, hash_file
from wavepaint.errors import BundleError, EngineError, VerificationError
from wavepaint.export.cases import ByteCase, Case, Image, byte_cases, verification_cases
from wavepaint.runtime.engines.comparison import (
    Budget,
    Comparison,
    choose_budget,
    compare,
    describe_failure,
    make_report,
)
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.gpus import get_gpu_name
from wavepaint.runtime.engines.registry import find_engine, find_runnable, get_engine, open_execution
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.filling.padding import pad_to_multiple
from wavepaint.runtime.images.arrays import quantize

Reference = Callable[[Image, Image], Image]

SOURCE = "PyTorch"
"""Start of the reference's name if the reference is the source network."""


@dataclass(frozen=True)
class Suite:
    """Inputs and expected outputs for models with float32 inputs and outputs.

    Attributes:
        cases: Inputs.
        expected: The reference's output for each case, (N, 3, H, W) in [0, 1].
        reference: The reference's human-readable name.
        execution: How the reference ran, if it is one of the bundle's own models; it is not compared with itself.
    """

    cases: Sequence[Case]
    expected: Sequence[Image]
    reference: str
    execution: ExecutionConfig | None = None


def make_suite(
    size_multiple: int, reference: Reference, name: str, *, execution: ExecutionConfig | None = None
) -> Suite:
    """Run the reference, a function (image, mask) -> filled, over :func:`verification_cases`."""
    cases = verification_cases(size_multiple)
    return Suite(cases, [reference(image, mask) for _, image, mask in cases], name, execution)


def own_suite(model: Model) -> Suite:
    """Run a bundle's float32 model on the CPU over :func:`verification_cases`.

    Raises:
        EngineError: No engine for the CPU runs it.
    """
    execution = next(iter(find_runnable(model)), ExecutionConfig("ort-cpu", model, "float32"))
    with open_execution(execution) as session:
        name = f"{model.artifact.path} in {session.engine}"
        return make_suite(model.size_multiple, session.run, name, execution=execution)


def verify_session(session: Session, suite: Suite, budget: Budget) -> list[Comparison]:
    """Run a session with float32 inputs and outputs on every case of a size that it takes, and compare."""
    return [
        compare(name, image, mask, session.run(image, mask), expected, budget)
        for (name, image, mask), expected in zip(suite.cases, suite.expected, strict=True)
        if session.takes(len(image), *image.shape[2:])
    ]


def verify_byte_session(
    session: Session, floats: Session, cases: Sequence[ByteCase], padding: PadMode, budget: Budget
) -> list[Comparison]:
    """Compare a session with uint8 inputs and outputs with the Python path around one with float32 inputs and outputs.

    Cases of a size that one of the two does not take are left out.
    """
    comparisons = []
    for name, image, mask in cases:
        hole = mask >= MASK_THRESHOLD
        sides = image.shape[1:3]
        if not session.takes(len(image), *sides):
            continue
        inputs = [
            np.stack([pad_to_multiple(one, floats.size_multiple, padding) for one in values]).transpose(0, 3, 1, 2)
            for values in (image.astype(np.float32) / np.float32(255), hole.astype(np.float32))
        ]
        if not floats.takes(len(image), *inputs[0].shape[2:]):
            continue
        filled = floats.run(*map(np.ascontiguousarray, inputs)).transpose(0, 2, 3, 1)[:, : sides[0], : sides[1]]
        expected = np.where(hole, quantize(filled, image.dtype), image)
        image_NCHW, hole_N1HW, output, expected = (
            values.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(scale)
            for values, scale in ((image, 255), (hole, 1), (session.run(image, mask), 255), (expected, 255))
        )
        comparisons.append(compare(name, image_NCHW, hole_N1HW, output, expected, budget))
    return comparisons


def summarise(reports: Sequence[Report]) -> list[Report]:
    """Return reports for the manifest, with only the failed cases, and without engines that are missing here."""
    return [
        {**report, "cases": [case for case in report["cases"] if not case["passed"]]}
        for report in reports
        if report["required"] or "error" not in report
    ]


def describe_arithmetic(report: Report) -> str:
    """Return a report's precision: "float32", or "float32 on float16 weights"."""
    arithmetic = report["precision"]
    weights = report.get("weights") or arithmetic
    return arithmetic if weights == arithmetic else f"{arithmetic} on {weights} weights"


def merge_reports(kept: Sequence[Report], made: Sequence[Report], sha256: str) -> list[Report]:
    """Return what is known of a form after it was verified again.

    A report takes the place of one of the same engine, device and arithmetic, unless that one was made against the
    source and it was not. One that passed also takes the place of one that failed on another GPU.

    Args:
        kept: The former reports.
        made: The new ones.
        sha256: Hash of the form's file; former reports of another file are left out.
    """

    def replaces(new: Report, old: Report) -> bool:
        # What an earlier version did not write down may be anything.
        is_same_engine = find_engine(old) in (None, find_engine(new))
        is_same_arithmetic = (old.get("precision") or new["precision"]) == new["precision"]
        is_same_device = (old.get("device") or new["device"]) == new["device"]
        is_weaker = _is_against_source(old) and not _is_against_source(new)
        is_mended = new["passed"] and not old["passed"]
        return is_same_engine and is_same_arithmetic and not is_weaker and (is_same_device or is_mended)

    former = [report for report in kept if report.get("sha256", sha256) == sha256]
    return [report for report in former if not any(replaces(new, report) for new in made)] + [*made]


def _is_against_source(report: Report) -> bool:
    return report.get("reference", "").startswith(SOURCE)


def describe_report(report: Report) -> str:
    """Say in one line what a report came to."""
    if "error" in report:
        return f"FAILED to run in {report.get('engine', 'an engine')}: {report['error']}"
    lowest = report["min_psnr_hole_db"]
    verdict = "verified" if report["passed"] else "FAILED verification" if report["required"] else "not precise enough"
    return (
        f"{verdict} in {report['engine']} ({describe_arithmetic(report)}), "
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
        raise VerificationError(f"{failure}. It was not written.")


def verify_model(model: Model, suite: Suite) -> list[Report]:
    """Run one form of a model on every engine of this machine that can, and compare.

    Args:
        model: The form. With uint8 inputs and outputs it is compared with the Python path around its sibling with
            float32 inputs and outputs in the same engine.
        suite: The reference for models with float32 inputs and outputs.

    Returns:
        A report for each engine, with an ``error`` where it fails; none if no engine here can run this form.
    """
    sha256 = hash_file(model.path)
    reports = []
    for execution in find_runnable(model):
        if execution == suite.execution:
            continue
        try:
            report = _verify_execution(execution, suite)
        except EngineError as error:
            report = _failed_report(execution, suite.reference, error)
        report["sha256"] = sha256
        reports.append(report)
    return reports


def _verify_execution(execution: ExecutionConfig, suite: Suite) -> Report:
    artifact, model = execution.artifact, execution.model
    budget, required = (
        choose_budget(artifact, execution.arithmetic),
        execution.arithmetic in (artifact.precision, "float32"),
    )
    # A plan is verified itself or not at all: another one built in its place would say nothing about it.
    with open_execution(execution, plan_policy="refuse") as session:
        if artifact.io_dtype == "float32":
            comparisons, reference = verify_session(session, suite, budget), suite.reference
        else:
            sibling = find_sibling(artifact)
            reference = f"Python around {sibling.path}"
            floating = replace(execution, model=model.get_sibling(sibling))
            with open_execution(floating, plan_policy="refuse") as floats:
                cases = byte_cases(model.size_multiple)
                comparisons = verify_byte_session(session, floats, cases, model.padding, budget)
    if not comparisons:
        raise EngineError(f"{artifact.path} takes none of the sizes it is verified at. Build larger profiles.")
    return make_report(comparisons, budget, reference, session, required=required)


def _failed_report(execution: ExecutionConfig, reference: str, error: EngineError) -> Report:
    """Return the report of a model that does not run in an engine."""
    engine = get_engine(execution.engine)
    return {
        "passed": False,
        "required": not engine.may_fail_verification,
        "error": str(error),
        "engine": engine.label,
        "device": get_gpu_name() if engine.is_on_gpu else "CPU",
        "precision": execution.arithmetic,
        "weights": execution.artifact.precision,
        "reference": reference,
        "cases": [],
    }


def find_sibling(artifact: Artifact) -> Artifact:
    """Return the form with float32 edges of one with uint8 edges; of a plan's model file nothing is known."""
    details = {key: value for key, value in artifact.details.items() if not key.startswith("onnx")}
    return replace(artifact, path=artifact.details["float_edges"], io_dtype="float32", details=details)


def verify_bundle(
    bundle: Bundle, suite: Suite | None = None, *, on_artifact: Callable[[Artifact], None] = lambda artifact: None
) -> dict[str, list[Report]]:
    """Run every artifact that can run here and compare it.

    Args:
        bundle: A checked bundle.
        suite: What to compare with, usually PyTorch; None takes the bundle's own float32 model on the CPU.
        on_artifact: Told of each artifact before it is run.

    Returns:
        Reports for every artifact's path; a model that fails to run has a report that failed, with an ``error``.

    Raises:
        BundleError: The manifest is incomplete, or there is no float32 model to compare with.
        EngineError: That float32 model cannot be run.
    """
    manifest = bundle.manifest
    if suite is None:
        suite = own_suite(bundle.get_model(bundle.find_artifact("onnx", "float32")))
    reports: dict[str, list[Report]] = {}
    for artifact in manifest.artifacts:
        on_artifact(artifact)
        try:
            reports[artifact.path] = verify_model(bundle.get_model(artifact), suite)
        except KeyError as error:
            raise BundleError(
                f"the manifest of {bundle.folder} lacks {error} in the details of {artifact.path}. Export it again."
            ) from error
    return reports
