"""Verify exported models: run them on every engine here, compare them with a reference, and report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wavepaint.contract import (
    INPAINTING,
    INPUT_MASK,
    MASK_THRESHOLD,
    Artifact,
    Bundle,
    Model,
    PadMode,
    Report,
    SizeLimits,
    Task,
    hash_file,
)
from wavepaint.errors import BundleError, EngineError, VerificationError
from wavepaint.export.cases import AnyCase, ByteCase, Image, byte_cases, image_cases, verification_cases
from wavepaint.runtime.engines.case_comparison import CaseComparison
from wavepaint.runtime.engines.comparison import AnyBudget, choose_budget, describe_failure, make_report
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.gpus import get_gpu_name
from wavepaint.runtime.engines.registry import find_engine, find_runnable, get_engine, open_execution
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.filling.padding import pad_to_multiple
from wavepaint.runtime.images.arrays import quantize
from wavepaint.runtime.sizes import SizeRange

Reference = Callable[..., Image]
"""(image, mask) -> filled, or image -> logits."""

IMPORTED_SOURCE = "the imported"

SOURCES = ("PyTorch", IMPORTED_SOURCE)
"""Prefixes of a reference's name that mark the source of a bundle: the network, or the file that was imported."""


@dataclass(frozen=True)
class Suite:
    """Inputs and expected outputs for models with float32 inputs and outputs.

    Attributes:
        cases: Names and inputs.
        expected: The reference's output for each case.
        reference: The reference's human-readable name.
        execution: How the reference ran, if it is one of the bundle's models; it is not compared with itself.
    """

    cases: Sequence[AnyCase]
    expected: Sequence[Image]
    reference: str
    execution: ExecutionConfig | None = None


def list_cases(task: Task, size_multiple: int, limits: SizeLimits | None = None) -> Sequence[AnyCase]:
    """Return the verification cases of a task, within the limits of the sizes that a network takes."""
    make_cases = verification_cases if INPUT_MASK in task.inputs else image_cases
    return make_cases(size_multiple, limits=limits)


def make_suite(
    size_multiple: int,
    reference: Reference,
    name: str,
    *,
    task: Task = INPAINTING,
    limits: SizeLimits | None = None,
    execution: ExecutionConfig | None = None,
) -> Suite:
    """Run the reference, a function of a task's inputs, over :func:`list_cases`."""
    cases = list_cases(task, size_multiple, limits)
    return Suite(cases, [reference(*inputs) for _, *inputs in cases], name, execution)


def own_suite(model: Model) -> Suite:
    """Run a bundle's float32 model on the CPU over :func:`list_cases`, as the reference for its other models.

    Raises:
        EngineError: No CPU engine runs it.
    """
    execution = next(iter(find_runnable(model)), ExecutionConfig("ort-cpu", model, "float32"))
    with open_execution(execution) as session:
        name = f"{model.artifact.path} in {session.engine}"
        return make_suite(
            model.size_multiple, session.run, name, task=model.task, limits=model.sizes, execution=execution
        )


def verify_session(session: Session, suite: Suite, budget: AnyBudget) -> Sequence[CaseComparison]:
    """Compare a session with float32 inputs and outputs in every case of a size that it takes."""
    return [
        budget.compare(name, inputs, session.run(*inputs), expected)
        for (name, *inputs), expected in zip(suite.cases, suite.expected, strict=True)
        if session.takes(len(inputs[0]), *inputs[0].shape[2:])
    ]


def verify_byte_session(
    session: Session,
    floats: Session,
    cases: Sequence[ByteCase],
    padding: PadMode,
    budget: AnyBudget,
    least: tuple[int, int] = (1, 1),
) -> Sequence[CaseComparison]:
    """Compare a session with uint8 inputs and outputs with the Python path around a float32 session.

    Images smaller than ``least``, a height and a width, are padded to it. Cases of a size that either session does not
    take are skipped.
    """
    comparisons = []
    for name, image, mask in cases:
        hole = mask >= MASK_THRESHOLD
        sides = image.shape[1:3]
        if not session.takes(len(image), *sides):
            continue
        inputs = [
            np.stack([pad_to_multiple(one, floats.size_multiple, padding, least) for one in values])
            for values in (image.astype(np.float32) / np.float32(255), hole.astype(np.float32))
        ]
        if not floats.takes(len(image), *inputs[0].shape[1:3]):
            continue
        image_NCHW, mask_N1HW = (np.ascontiguousarray(one.transpose(0, 3, 1, 2)) for one in inputs)
        filled = floats.run(image_NCHW, mask_N1HW).transpose(0, 2, 3, 1)[:, : sides[0], : sides[1]]
        expected = np.where(hole, quantize(filled, image.dtype), image)
        image_NCHW, hole_N1HW, output, expected = (
            values.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(scale)
            for values, scale in ((image, 255), (hole, 1), (session.run(image, mask), 255), (expected, 255))
        )
        comparisons.append(budget.compare(name, (image_NCHW, hole_N1HW), output, expected))
    return comparisons


def summarise(reports: Sequence[Report]) -> list[Report]:
    """Return reports for the manifest, with only the failed cases and without optional engines that did not run."""
    return [
        {**report, "cases": [case for case in report["cases"] if not case["passed"]]}
        for report in reports
        if report["required"] or "error" not in report
    ]


def describe_precision(report: Report) -> str:
    """Return a report's precision: "float32", or "float32 on float16 weights"."""
    precision: str = report["precision"]
    weights = report.get("weights") or precision
    return precision if weights == precision else f"{precision} on {weights} weights"


def merge_reports(stored: Sequence[Report], made: Sequence[Report], sha256: str) -> list[Report]:
    """Merge a model's stored reports with new ones.

    A new report replaces a stored one of the same engine, precision and device. It also replaces a failed report of
    another device if it passed itself. A comparison with the source network is replaced only by another one.

    Args:
        stored: Reports in the manifest.
        made: New reports.
        sha256: Hash of the model file; stored reports of another file are dropped.
    """

    def replaces(new: Report, old: Report) -> bool:
        # Earlier versions left some keys out; a missing value matches any.
        is_same_engine = find_engine(old) in (None, find_engine(new))
        is_same_precision = (old.get("precision") or new["precision"]) == new["precision"]
        is_same_device = (old.get("device") or new["device"]) == new["device"]
        is_weaker = _is_against_source(old) and not _is_against_source(new)
        is_fixed = new["passed"] and not old["passed"]
        return is_same_engine and is_same_precision and not is_weaker and (is_same_device or is_fixed)

    current = [report for report in stored if report.get("sha256", sha256) == sha256]
    return [report for report in current if not any(replaces(new, report) for new in made)] + [*made]


def _is_against_source(report: Report) -> bool:
    return report.get("reference", "").startswith(SOURCES)


def describe_report(report: Report) -> str:
    """Summarise a report in one line."""
    if "error" in report:
        return f"FAILED to run in {report.get('engine', 'an engine')}: {report['error']}"
    lowest, relative = report.get("min_psnr_hole_db"), report.get("max_relative_error")
    verdict = "verified" if report["passed"] else "FAILED verification" if report["required"] else "not precise enough"
    return (
        f"{verdict} in {report['engine']} ({describe_precision(report)}), "
        f"{report['num_cases']} cases against {report['reference']}: "
        + ("values that are not finite" if report["max_error"] is None else f"largest error {report['max_error']:.1e}")
        + (f", at least {lowest:.1f} dB inside the hole" if lowest is not None else "")
        + (f", {relative:.1e} of the logits' range" if relative is not None else "")
        + (f", at least {report['min_psnr_db']:.1f} dB" if report.get("min_psnr_db") is not None else "")
    )


def require_passed(report: Report) -> None:
    """Raise if a required report failed.

    Raises:
        VerificationError: The message names the first failed case and the reason.
    """
    failure = describe_failure(report)
    if failure and report["required"]:
        raise VerificationError(f"{failure.removesuffix('.')}. It was not written.")


def verify_model(model: Model, suite: Suite) -> list[Report]:
    """Run a model in every engine of this machine that supports it, and compare the outputs with the reference.

    Args:
        model: The model. With uint8 inputs and outputs it is compared with the Python path around its sibling with
            float32 inputs and outputs in the same engine.
        suite: The reference for models with float32 inputs and outputs.

    Returns:
        A report for each engine, with an ``error`` if the engine fails to run the model.
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
    budget = choose_budget(artifact, execution.arithmetic, model.task)
    required = execution.arithmetic in (artifact.precision, "float32")
    # Building another plan would verify that one, not this one.
    with open_execution(execution, plan_policy="refuse") as session:
        if artifact.io_dtype == "float32":
            comparisons, reference = verify_session(session, suite, budget), suite.reference
        else:
            sibling = _find_float_sibling(artifact)
            reference = f"Python around {sibling.path}"
            floating = replace(execution, model=model.get_sibling(sibling))
            with open_execution(floating, plan_policy="refuse") as floats:
                cases = byte_cases(model.size_multiple)
                least = SizeRange.from_limits(model.sizes).least[1:]
                comparisons = verify_byte_session(session, floats, cases, model.padding, budget, least)
    if not comparisons:
        raise EngineError(f"{artifact.path} takes none of the sizes it is verified at. Build larger profiles.")
    return make_report(comparisons, budget, reference, session, required=required)


def _failed_report(execution: ExecutionConfig, reference: str, error: EngineError) -> Report:
    """Return the report of an engine that fails to run a model."""
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


def _find_float_sibling(artifact: Artifact) -> Artifact:
    """Return the entry with float32 inputs and outputs of one with uint8, without details of a plan's source model."""
    details = {key: value for key, value in artifact.details.items() if not key.startswith("onnx")}
    return replace(artifact, path=artifact.details["float_edges"], io_dtype="float32", details=details)


def verify_bundle(
    bundle: Bundle, suite: Suite | None = None, *, on_artifact: Callable[[Artifact], None] = lambda artifact: None
) -> dict[str, list[Report]]:
    """Verify every model of a bundle that can run here.

    Args:
        bundle: A checked bundle.
        suite: The reference, usually PyTorch; None takes the bundle's own float32 model on the CPU.
        on_artifact: Called with each artifact before it is run.

    Returns:
        The reports of :func:`verify_model` by path.

    Raises:
        BundleError: The manifest is incomplete, or the bundle has no float32 model to compare with.
        EngineError: The float32 model does not run.
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
