"""The list of engines, and the choice of the one that runs a bundle on this machine."""

from collections.abc import Iterator, Sequence
from typing import get_args

from wavepaint.arguments import check_choice, check_int
from wavepaint.contract import Bundle, Model, Precision, Report
from wavepaint.errors import BundleError, EngineError
from wavepaint.runtime.engines.engine import Auto, Engine, EngineName, ExecutionConfig, OpenOptions, PlanPolicy
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.openvino import OpenVino
from wavepaint.runtime.engines.ort import OrtCpu, OrtCuda
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.engines.tensorrt.engine import TensorRt, TensorRtRtx
from wavepaint.runtime.engines.trust import Reference, check_once

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FASTEST_FIRST: tuple[Engine, ...] = (TensorRt(), TensorRtRtx(), OrtCuda(), OpenVino(), OrtCpu())
"""Every engine, in the order in which ``auto`` tries them. The order on GPUs is assumed, not measured. On two CPU
cores the former default model took 15.4 ms at 256x256 in OpenVINO bfloat16, 21.3 in OpenVINO float32 (on float16
weights) and 31.6 in ONNX Runtime (benchmarks/results/2026-11-21-race)."""

_BY_NAME: dict[EngineName, Engine] = {engine.name: engine for engine in FASTEST_FIRST}


def get_engine(name: EngineName) -> Engine:
    """Return an engine by its name."""
    return _BY_NAME[name]


def find_runnable(model: Model) -> list[ExecutionConfig]:
    """Return the configurations in which this machine can run a model; in each engine exact arithmetic first."""
    return [execution for name in ENGINES for execution in get_engine(name).find_runnable(model)]


def find_obstacle(model: Model) -> str:
    """Return why no engine on this machine runs a model, and how to fix it; empty if one does."""
    if find_runnable(model):
        return ""
    able = [get_engine(name) for name in ENGINES if get_engine(name).takes(model.artifact)]
    return able[0].find_obstacle(model)


def find_engine(report: Report) -> EngineName | None:
    """Return the engine that a report is about; None if the report does not name a known one."""
    return next((name for name in ENGINES if get_engine(name).is_named_in(report)), None)


def _find_reports(bundle: Bundle, execution: ExecutionConfig) -> Iterator[Report]:
    path = execution.artifact.path
    for report in bundle.manifest.verification.get(path, []):
        if (
            find_engine(report) in (None, execution.engine)
            and report.get("precision") in (None, execution.arithmetic)
            and report.get("sha256") in (None, bundle.manifest.files[path]["sha256"])
        ):
            yield report


def has_failed(bundle: Bundle, execution: ExecutionConfig) -> bool:
    """Return whether a report in the bundle says that a configuration failed verification."""
    return any(not report["passed"] for report in _find_reports(bundle, execution))


def is_verified(bundle: Bundle, execution: ExecutionConfig) -> bool:
    """Return whether a configuration has reports in the bundle and passed verification in all of them."""
    passed = [report["passed"] for report in _find_reports(bundle, execution)]
    return bool(passed) and all(passed)


def list_candidates(bundle: Bundle, engine: EngineName, precision: Precision | Auto = "auto") -> list[ExecutionConfig]:
    """Return the configurations in which an engine could run a bundle, fastest first, even if it is not installed.

    ``float32`` means float32 weights, too. ``auto`` leaves out configurations that failed verification, and float32
    arithmetic on other weights unless it is verified.
    """

    def is_allowed(execution: ExecutionConfig) -> bool:
        if precision == "auto" and has_failed(bundle, execution):
            return False
        is_exact = execution.arithmetic != "float32" or execution.artifact.precision == "float32"
        return is_exact or (precision == "auto" and is_verified(bundle, execution))

    return [found for found in get_engine(engine).list_candidates(bundle, precision) if is_allowed(found)]


def list_fastest(bundle: Bundle) -> list[ExecutionConfig]:
    """Return the fastest candidate of every engine and arithmetic, for comparisons; float32 on float32 weights."""
    fastest = {
        (execution.engine, execution.arithmetic): execution
        for name in ENGINES
        for execution in reversed(list_candidates(bundle, name))
        if execution.arithmetic != "float32" or execution.artifact.precision == "float32"
    }
    return sorted(
        fastest.values(),
        key=lambda execution: (ENGINES.index(execution.engine), PRECISIONS.index(execution.arithmetic)),
    )


def can_compare() -> bool:
    """Return whether an engine for the CPU is installed, so that GPU sessions can be compared with it."""
    return any(engine.is_installed() for engine in FASTEST_FIRST if not engine.is_on_gpu)


def _open_on_cpu(model: Model) -> Session:
    """Open a float32 model in the first engine for the CPU that can."""
    reasons = []
    for engine in (get_engine(name) for name in ENGINES):
        if not engine.is_on_gpu:
            try:
                return open_execution(ExecutionConfig(engine.name, model, "float32"))
            except EngineError as error:
                reasons.append(str(error))
    raise EngineError(f"no engine for the CPU opens {model.path.name} to compare with: {' '.join(reasons)}")


def _find_reference(execution: ExecutionConfig) -> Reference | None:
    return Reference(execution.reference, _open_on_cpu) if execution.reference and can_compare() else None


def open_execution(
    execution: ExecutionConfig, *, threads: int | None = None, streams: int = 1, plan_policy: PlanPolicy = "build"
) -> Session:
    """Open a model in an engine.

    Args:
        execution: Engine, model and arithmetic.
        threads: CPU threads; None leaves the choice to the engine.
        streams: Number of concurrent runs, each from a thread of the caller; they share ``threads``. TensorRT uses at
            least two, so that copies overlap with computing. OpenVINO runs one at a time.
        plan_policy: For TensorRT, what to do if no plan in the bundle fits this machine.

    Raises:
        EngineError: The engine is not installed, does not load, or refuses the model or the arithmetic; or the ONNX
            file has external data.
    """
    options = OpenOptions(
        threads=threads, streams=streams, plan_policy=plan_policy, reference=_find_reference(execution)
    )
    return get_engine(execution.engine).open(execution, options)


def check_execution(engine: EngineName | Auto, precision: Precision | Auto, threads: int | None) -> None:
    """Check the arguments that choose how a model runs, before anything is read.

    Raises:
        ConfigError: One of them is not allowed. The message names its flag.
    """
    check_choice("engine", engine, (*ENGINES, "auto"), flag="--engine")
    check_choice("precision", precision, (*PRECISIONS, "auto"), flag="--precision")
    if threads is not None:
        check_int("threads", threads, 1, flag="--threads")


def open_session(
    bundle: Bundle,
    *,
    engine: EngineName | Auto = "auto",
    precision: Precision | Auto = "auto",
    threads: int | None = None,
    streams: int = 1,
) -> Session:
    """Open a bundle with float32 inputs and outputs in one engine.

    If ``engine`` or ``precision`` is ``auto``, verified candidates come first and failed ones are skipped. Bundles are
    seldom exported on a machine with a GPU, so a GPU candidate without a report is compared with the bundle's float32
    model once.

    Args:
        bundle: A checked bundle.
        engine: A name, or ``auto`` for the fastest engine that opens here and needs no build: TensorRT counts only with
            a plan that fits, from the bundle or the cache. A named engine builds what it needs.
        precision: Arithmetic precision, or ``auto`` for the engine's fastest. ``float32`` means float32 weights, too.
        threads: CPU threads; None leaves the choice to the engine.
        streams: See :func:`open_execution`.

    Raises:
        EngineError: The named engine, or every engine, is not installed, does not load or refuses the model. The error
            lists each reason.
        BundleError: The bundle has no model for the engine in that precision.
    """
    is_auto = "auto" in (engine, precision)
    names = _list_engines_to_try() if engine == "auto" else (engine,)
    executions = [execution for name in names for execution in list_candidates(bundle, name, precision)]
    if is_auto:
        executions.sort(key=lambda one: not get_engine(one.engine).is_on_gpu and not is_verified(bundle, one))
    reasons: dict[str, str] = {}
    for execution in executions:
        try:
            if is_auto and has_failed(bundle, execution):
                raise EngineError(
                    f"{execution.artifact.path} failed verification in this engine. To run it anyway, name the engine "
                    "and the precision."
                )
            session = open_execution(
                execution, threads=threads, streams=streams, plan_policy="cached" if engine == "auto" else "build"
            )
            if is_auto:
                _check_gpu_session(bundle, execution, session)
            return session
        except (BundleError, EngineError) as error:
            if not is_auto:
                raise
            reasons.setdefault(str(error), f"{execution.engine} {execution.arithmetic}: {error}")
    raise EngineError(" ".join(reasons.values()) or explain_no_model(bundle, names, precision))


def explain_no_model(bundle: Bundle, engines: Sequence[EngineName], precision: Precision | Auto) -> str:
    """Return why a bundle has no candidate for any of some engines in a precision, and how to fix it."""
    held = ", ".join(dict.fromkeys(artifact.precision for artifact in bundle.manifest.artifacts))
    if precision == "auto":
        return (
            f"{bundle.folder} has no model for {' or '.join(engines)} that passed verification; it has {held}. A model "
            "that failed runs only if --engine and --precision name it."
        )
    problem = f"{bundle.folder} has no model for {' or '.join(engines)} in {precision}"
    if not any(get_engine(name).computes(precision) for name in engines):
        able = [name for name in ENGINES if get_engine(name).computes(precision)]
        return f"{problem}, which is computed only in {', '.join(able)} (--engine)."
    return f"{problem}; it has {held}. Export its checkpoint in that precision: {bundle.suggest_export(precision)}"


def _list_engines_to_try() -> tuple[EngineName, ...]:
    """Return all engines; without a GPU only those for the CPU, so that the others' libraries are not imported."""
    has_gpu = bool(find_gpus())
    return tuple(engine.name for engine in FASTEST_FIRST if has_gpu or not engine.is_on_gpu)


def _check_gpu_session(bundle: Bundle, execution: ExecutionConfig, session: Session) -> None:
    """Compare a GPU session that has no report with the float32 model on the CPU.

    A cached plan was compared when it was built.
    """
    is_cached_plan = session.path != execution.model.path
    if not get_engine(execution.engine).is_on_gpu or is_cached_plan or is_verified(bundle, execution):
        return
    reference = _find_reference(execution)
    if reference is not None:
        files = bundle.manifest.files
        check_once(
            session, reference, [files[one.artifact.path]["sha256"] for one in (execution.model, reference.model)]
        )
