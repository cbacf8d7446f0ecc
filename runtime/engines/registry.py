"""The engines: what each needs, which can run a bundle on this machine, and the one that serves it."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from wavepaint.contract import Artifact, Bundle
from wavepaint.errors import BundleError, EngineError
from wavepaint.model_file import check_model_file
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.session import Precision, Session
from wavepaint.runtime.engines.tensorrt.build import LIBRARIES, Library, PlanPolicy, serves
from wavepaint.runtime.engines.trust import can_compare, check_once, has_failed, is_verified

EngineName = Literal["ort-cpu", "ort-cuda", "openvino", "tensorrt", "tensorrt-rtx"]
Auto = Literal["auto"]

_EXACT = ("onnx", "float32", "float32")
"""Kind, edges and precision of the model that others are compared with."""

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_FASTEST_FIRST: tuple[EngineName, ...] = ("tensorrt", "tensorrt-rtx", "ort-cuda", "openvino", "ort-cpu")
"""For ``auto``. The order on GPUs is assumed, not measured. On two CPU cores the default model took 15.4 ms at 256x256
in OpenVINO bfloat16, 21.3 in its float32 (on float16 weights) and 31.6 in ONNX Runtime
(benchmarks/results/2026-11-21-race)."""

ON_CPU: tuple[EngineName, ...] = ("ort-cpu", "openvino")


@dataclass(frozen=True)
class ExecutionConfig:
    """One way to run a model.

    Attributes:
        engine: Who computes.
        artifact: The form of the model; its precision is that of the weights.
        arithmetic: What the engine computes in.
        reference: The bundle's float32 model, beside the form, which a plan that is built here is compared with; empty
            for none.
    """

    engine: EngineName
    artifact: Artifact
    arithmetic: Precision
    reference: str = ""


def find_runnable(artifact: Artifact) -> list[ExecutionConfig]:
    """Return how this machine can run a form of a model, exact arithmetic before reduced.

    ONNX models run on the CPU and, by CUDA, on the GPU, plans on the GPU they fit, in the version of the library they
    fit.
    """
    found: list[ExecutionConfig] = []
    if artifact.kind in LIBRARIES:
        from wavepaint.runtime.engines.tensorrt.store import why_not_here

        if not why_not_here(artifact):
            found.append(ExecutionConfig(cast(EngineName, artifact.kind), artifact, artifact.precision))
    if artifact.kind != "onnx":
        return found
    if artifact.precision != "bfloat16" and importlib.util.find_spec("onnxruntime"):
        from wavepaint.runtime.engines.ort import has_cuda

        found.append(ExecutionConfig("ort-cpu", artifact, artifact.precision))
        if has_cuda():
            found.append(ExecutionConfig("ort-cuda", artifact, artifact.precision))
    if importlib.util.find_spec("openvino"):
        from wavepaint.runtime.engines.openvino import cpu_precisions

        wanted = {"bfloat16"} if artifact.precision == "bfloat16" else {"float32", "bfloat16"}
        found += [
            ExecutionConfig("openvino", artifact, precision) for precision in cpu_precisions() if precision in wanted
        ]
    return found


def open_execution(
    execution: ExecutionConfig,
    path: Path,
    size_multiple: int,
    *,
    threads: int | None = None,
    streams: int = 1,
    plan_policy: PlanPolicy = "build",
) -> Session:
    """Open a form of a model in an engine.

    Args:
        way: Engine, form and arithmetic.
        path: The form's file; what the form was built from lies beside it.
        size_multiple: The manifest's.
        threads: CPU threads; None leaves the choice to the engine.
        streams: Runs at work at one time, from as many threads of the caller, with ``threads`` between them. TensorRT
            takes two at least, so that copies overlap with computing; in OpenVINO runs take turns.
        plan_policy: For TensorRT, what to do where the bundle has no plan that fits this machine.

    Raises:
        EngineError: The engine is not installed, does not load, or refuses the model or the arithmetic; or the ONNX
            file has external data.
    """
    io_dtype = execution.artifact.io_dtype
    if execution.engine == "tensorrt" or execution.engine == "tensorrt-rtx":
        from wavepaint.runtime.engines.tensorrt.store import open_plan

        return open_plan(
            execution.artifact,
            path,
            size_multiple,
            library=execution.engine,
            streams=max(2, streams),
            plan_policy=plan_policy,
            reference=path.with_name(execution.reference) if execution.reference and can_compare() else None,
        )
    check_model_file(path)
    if execution.engine == "openvino":
        from wavepaint.runtime.engines.openvino import OpenVinoSession

        return OpenVinoSession(
            path,
            io_dtype=io_dtype,
            size_multiple=size_multiple,
            precision=execution.arithmetic,
            weights=execution.artifact.precision,
            threads=threads,
        )
    from wavepaint.runtime.engines.ort import OrtSession

    if execution.arithmetic != execution.artifact.precision:
        raise EngineError(
            f"ONNX Runtime computes {execution.artifact.path} in the file's own {execution.artifact.precision}, not in "
            f"{execution.arithmetic}."
        )
    return OrtSession(
        path,
        device="cuda" if execution.engine == "ort-cuda" else "cpu",
        io_dtype=io_dtype,
        size_multiple=size_multiple,
        precision=execution.artifact.precision,
        threads=threads,
        streams=streams,
    )


def open_session(
    bundle: Bundle,
    *,
    engine: EngineName | Auto = "auto",
    precision: Precision | Auto = "auto",
    threads: int | None = None,
    streams: int = 1,
) -> Session:
    """Open a bundle in the engine that serves it, float32 edges.

    Where either is ``auto``, what was verified comes first, what failed is not taken, and on a GPU, where bundles are
    seldom made, what has no report yet is compared with the bundle's float32 model here, once.

    Args:
        bundle: A checked bundle.
        engine: A name, or ``auto`` for the fastest that really opens here without building anything: TensorRT is
            taken where a plan that fits is in the bundle or was built here before. Named, it builds what it needs.
        precision: Of the arithmetic, or ``auto`` for the engine's fastest. ``float32`` means float32 weights too.
        threads: CPU threads; None leaves the choice to the engine.
        streams: See :func:`open_execution`.

    Raises:
        EngineError: The named engine, or every engine, is not installed, does not load or refuses the model; each
            reason is told.
        BundleError: The bundle has no model for the engine in that precision.
    """
    multiple = bundle.manifest.size_multiple
    reasons: dict[str, str] = {}
    plan_policy: PlanPolicy = "cached" if engine == "auto" else "build"
    is_auto = "auto" in (engine, precision)
    executions = [
        execution
        for name in (_engines_here() if engine == "auto" else (engine,))
        for execution in list_candidates(bundle, name, precision)
    ]
    if is_auto:
        executions.sort(key=lambda execution: execution.engine in ON_CPU and not is_verified(bundle, execution))
    for execution in executions:
        path = bundle.locate(execution.artifact)
        try:
            if is_auto and has_failed(bundle, execution):
                raise EngineError(
                    f"{execution.artifact.path} failed verification in it, and is run only if both are named."
                )
            session = open_execution(
                execution, path, multiple, threads=threads, streams=streams, plan_policy=plan_policy
            )
            # A plan that is kept in the cache was compared when it was built.
            if (
                is_auto
                and execution.engine not in ON_CPU
                and session.path == path
                and not is_verified(bundle, execution)
            ):
                check_once(bundle, execution, session)
            return session
        except (BundleError, EngineError) as error:
            if not is_auto:
                raise
            reasons.setdefault(str(error), f"{execution.engine} {execution.arithmetic}: {error}")
    raise EngineError(" ".join(reasons.values()) or f"{bundle.folder} holds no model for {engine} in {precision}.")


def _engines_here() -> tuple[EngineName, ...]:
    """Return the engines worth trying; without a GPU those of the CPU, so that nothing is imported in vain."""
    return _FASTEST_FIRST if find_gpus() else tuple(name for name in _FASTEST_FIRST if name in ON_CPU)


def list_candidates(bundle: Bundle, engine: EngineName, precision: Precision | Auto = "auto") -> list[ExecutionConfig]:
    """Return how an engine could run a bundle, fastest first, whether or not the engine is installed.

    With ``auto``, what failed verification in that engine and arithmetic is left out, and so is float32 on other
    weights where it was not verified.
    """
    if engine == "tensorrt" or engine == "tensorrt-rtx":
        found = [execution for execution in _list_plans(bundle, engine) if precision in ("auto", execution.arithmetic)]
        return [execution for execution in found if precision != "auto" or not has_failed(bundle, execution)]
    forms: dict[str, Artifact] = {}
    for artifact in bundle.manifest.artifacts:
        if artifact.kind == "onnx" and artifact.io_dtype == "float32":
            forms.setdefault(artifact.precision, artifact)
    executions: list[tuple[str, Precision]]  # the file's precision, the arithmetic
    if engine == "openvino" and precision == "float16":
        executions = [("float16", "float16")]  # which OpenVINO refuses, and says what it computes
    elif engine == "openvino":
        # Its arithmetic does not follow from the file. It runs the form of the float16 file fastest.
        executions = [
            ("float16", "bfloat16"),
            ("bfloat16", "bfloat16"),
            ("float32", "bfloat16"),
            ("float32", "float32"),
        ]
        if precision == "auto":
            executions.insert(3, ("float16", "float32"))
    elif engine == "ort-cuda":
        executions = [("float16", "float16"), ("float32", "float32")]
    else:
        executions = [("float32", "float32"), ("float16", "float16")]
    reference = forms["float32"].path if "float32" in forms else ""
    found = [
        ExecutionConfig(engine, forms[file], arithmetic, reference)
        for file, arithmetic in executions
        if file in forms and precision in ("auto", arithmetic)
    ]
    if precision != "auto":
        return found
    return [
        execution
        for execution in found
        if not has_failed(bundle, execution)
        and (
            execution.arithmetic != "float32"
            or execution.artifact.precision == "float32"
            or is_verified(bundle, execution)
        )
    ]


def _list_plans(bundle: Bundle, library: Library) -> list[ExecutionConfig]:
    """Return for each precision, fastest first, the plan for the GPU here, else any, else the ONNX model to build from.

    Precisions that the bundle has a plan of come first: nobody has to wait for those.
    """
    here = next((gpu.compute_capability for gpu in find_gpus()), "")
    exact = [form for form in bundle.manifest.artifacts if (form.kind, form.io_dtype, form.precision) == _EXACT]
    executions = []
    fastest_first: tuple[Precision, ...] = ("float16", "bfloat16", "float32")
    for precision in fastest_first:
        forms = [
            artifact
            for artifact in bundle.manifest.artifacts
            if artifact.kind in ("onnx", library) and artifact.io_dtype == "float32" and artifact.precision == precision
        ]
        forms.sort(key=lambda form: (form.kind == "onnx", not serves(form.details, here)))
        if forms:
            executions.append(ExecutionConfig(library, forms[0], precision, exact[0].path if exact else ""))
    return sorted(executions, key=lambda execution: execution.artifact.kind == "onnx")


def list_fastest(bundle: Bundle) -> list[ExecutionConfig]:
    """Return for every engine and arithmetic the fastest way, for comparing them all; float32 on float32 weights."""
    best = {
        (execution.engine, execution.arithmetic): execution
        for name in ENGINES
        for execution in reversed(list_candidates(bundle, name))
        if execution.arithmetic != "float32" or execution.artifact.precision == "float32"
    }
    return sorted(
        best.values(), key=lambda execution: (ENGINES.index(execution.engine), PRECISIONS.index(execution.arithmetic))
    )
