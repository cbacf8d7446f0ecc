"""The engines: what each needs, which can run a bundle on this machine, and the one that serves it."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from wavepaint.contract import Artifact, Bundle
from wavepaint.errors import EngineError
from wavepaint.runtime.session import Precision, Session

EngineName = Literal["ort-cpu", "ort-cuda", "openvino"]
Auto = Literal["auto"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_FASTEST_FIRST: tuple[EngineName, ...] = ("ort-cuda", "openvino", "ort-cpu")
"""For ``auto``. On two CPU cores the default model took 9.8 ms at 256x256 in OpenVINO bfloat16, 14.2 in its float32 and
22.9 in ONNX Runtime (benchmarks/results/2026-11-21-bench.json)."""


@dataclass(frozen=True)
class Way:
    """One way to run a model: an engine, a form of the model, and the arithmetic the engine computes in."""

    engine: EngineName
    artifact: Artifact
    arithmetic: Precision


def find_ways(artifact: Artifact) -> list[Way]:
    """Return how the CPU of this machine can run a form of a model, exact arithmetic before reduced."""
    found: list[Way] = []
    if artifact.kind != "onnx":
        return found
    if artifact.precision != "bfloat16" and importlib.util.find_spec("onnxruntime"):
        found.append(Way("ort-cpu", artifact, "float16" if artifact.precision == "float16" else "float32"))
    if importlib.util.find_spec("openvino"):
        from wavepaint.runtime.openvino_session import cpu_precisions

        wanted = {"bfloat16"} if artifact.precision == "bfloat16" else {"float32", "bfloat16"}
        found += [Way("openvino", artifact, precision) for precision in cpu_precisions() if precision in wanted]
    return found


def open_way(way: Way, path: Path, size_multiple: int, *, threads: int | None = None, streams: int = 1) -> Session:
    """Open a form of a model in an engine.

    Args:
        way: Engine, form and arithmetic.
        path: The form's file.
        size_multiple: The manifest's.
        threads: CPU threads; None leaves the choice to the engine.
        streams: Runs that go on at once, from as many threads of the caller.

    Raises:
        EngineError: The engine is not installed, does not load, or refuses the model or the arithmetic.
    """
    edges = way.artifact.edges
    if way.engine == "openvino":
        from wavepaint.runtime.openvino_session import OpenVinoSession

        return OpenVinoSession(
            path, edges=edges, size_multiple=size_multiple, precision=way.arithmetic, threads=threads, streams=streams
        )
    from wavepaint.runtime.ort_session import OrtSession

    if way.arithmetic != way.artifact.precision:
        raise EngineError(
            f"ONNX Runtime computes {way.artifact.path} in the file's own {way.artifact.precision}, not in "
            f"{way.arithmetic}."
        )
    return OrtSession(
        path,
        device="cuda" if way.engine == "ort-cuda" else "cpu",
        edges=edges,
        size_multiple=size_multiple,
        precision=way.artifact.precision,
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

    Args:
        bundle: A checked bundle.
        engine: A name, or ``auto`` for the fastest that really opens here.
        precision: Of the arithmetic, or ``auto`` for the fastest of the engine in which the bundle was not seen to
            fail verification.
        threads: CPU threads; None leaves the choice to the engine.
        streams: Runs that go on at once, from as many threads of the caller.

    Raises:
        EngineError: The named engine, or every engine, is not installed, does not load or refuses the model; each
            reason is told.
        BundleError: The bundle has no model for the engine in that precision.
    """
    multiple, reasons = bundle.manifest.size_multiple, []
    for name in _FASTEST_FIRST if engine == "auto" else (engine,):
        for way in list_ways(bundle, name, precision):
            try:
                return open_way(way, bundle.path_of(way.artifact), multiple, threads=threads, streams=streams)
            except EngineError as error:
                if engine != "auto" and precision != "auto":
                    raise
                reasons.append(f"{name} {way.arithmetic}: {error}")
    if not reasons:
        reasons.append(f"{bundle.folder} holds no model for {engine} in {precision}.")
    raise EngineError(" ".join(dict.fromkeys(reasons)))


def list_ways(bundle: Bundle, engine: EngineName, precision: Precision | Auto = "auto") -> list[Way]:
    """Return how an engine could run a bundle, fastest first, whether or not the engine is installed.

    With ``auto``, what failed verification in that engine and arithmetic is left out.
    """
    forms: dict[str, Artifact] = {}
    for artifact in bundle.manifest.artifacts:
        if artifact.kind == "onnx" and artifact.edges == "float32":
            forms.setdefault(artifact.precision, artifact)
    ways: list[tuple[Precision, str, Precision]]  # asked precision, the file's, the arithmetic
    if engine == "openvino":
        # Its kernels choose their own arithmetic; the float16 file has the form they run fastest.
        ways = [
            ("bfloat16", "float16", "bfloat16"),
            ("bfloat16", "bfloat16", "bfloat16"),
            ("bfloat16", "float32", "bfloat16"),
            ("float16", "float16", "float32"),
            ("float32", "float32", "float32"),
        ]
    elif engine == "ort-cuda":
        ways = [("float16", "float16", "float16"), ("float32", "float32", "float32")]
    else:
        ways = [("float32", "float32", "float32"), ("float16", "float16", "float16")]
    found = [
        Way(engine, forms[file], arithmetic)
        for asked, file, arithmetic in ways
        if file in forms and precision in ("auto", asked)
    ]
    return [way for way in found if precision != "auto" or not _has_failed(bundle, way)]


def list_best_ways(bundle: Bundle) -> list[Way]:
    """Return for every engine and arithmetic the fastest way, for comparing them all."""
    best = {(way.engine, way.arithmetic): way for name in ENGINES for way in reversed(list_ways(bundle, name))}
    return sorted(best.values(), key=lambda way: (ENGINES.index(way.engine), PRECISIONS.index(way.arithmetic)))


_LABELS: dict[EngineName, str] = {
    "ort-cpu": "ONNX Runtime", "ort-cuda": "ONNX Runtime", "openvino": "OpenVINO"
}  # fmt: skip
"""How each engine's name in a report begins."""


def _has_failed(bundle: Bundle, way: Way) -> bool:
    return any(
        not report.get("passed")
        for report in bundle.manifest.verification.get(way.artifact.path, [])
        if str(report.get("engine", _LABELS[way.engine])).startswith(_LABELS[way.engine])
        and report.get("precision", way.arithmetic) == way.arithmetic
    )
