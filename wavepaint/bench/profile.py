"""Profile a run by operator, with ONNX Runtime's own profiler and OpenVINO's performance counters.

The names are those of the graph as the engine rewrote it: operator types in ONNX Runtime, operator types and kernels in
OpenVINO (``ref`` is its plain, unvectorized kernel). Profiling itself takes time, so the totals exceed the latencies of
:mod:`wavepaint.bench.race`.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wavepaint.bench.cells import Cell
from wavepaint.bench.entrants import Subject
from wavepaint.optional import require
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.openvino import load_openvino
from wavepaint.runtime.engines.openvino_parts import compile_parts

PROFILED = ("ort-cpu", "openvino")
CALLS = 3
NUM_SHOWN = 6

Event = tuple[str, float]
"""An operator's name and its milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator type: the engine's name for it, the number of nodes, their time and their share of the total."""

    name: str
    num_nodes: int
    ms: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The profile of the fastest of several runs of a cell.

    Attributes:
        model: The subject's name.
        engine: Name on the command line.
        precision: Arithmetic precision.
        height: In pixels.
        batch: Images per call.
        total_ms: Sum over all operators.
        operators: All operator types, the slowest first.
    """

    model: str
    engine: str
    precision: str
    height: int
    batch: int
    total_ms: float
    operators: tuple[Operator, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_profile(cell: Cell, *, threads: int | None = None) -> Profile | None:
    """Profile a cell.

    Args:
        cell: A model in an engine.
        threads: CPU threads; None leaves the choice to the engine.

    Returns:
        None for engines without a profile; see :data:`PROFILED`.

    Raises:
        EngineError: The engine is not installed.
    """
    execution = cell.execution
    if not (cell.engine in PROFILED and isinstance(execution, ExecutionConfig) and isinstance(cell.subject, Subject)):
        return None
    path = cell.subject.bundle.locate(execution.artifact)
    inputs = dict(zip(cell.task.inputs, cell.make_inputs(), strict=True))
    profile = _profile_ort if cell.engine == "ort-cpu" else _profile_openvino
    events = min(profile(path, inputs, cell.precision, threads), key=lambda call: sum(ms for _, ms in call))
    total = sum(ms for _, ms in events)
    spent = {name: [ms for other, ms in events if other == name] for name in dict.fromkeys(name for name, _ in events)}
    operators = [
        Operator(name=name, num_nodes=len(times), ms=sum(times), share=sum(times) / total)
        for name, times in spent.items()
    ]
    return Profile(
        model=cell.subject.name,
        engine=cell.engine,
        precision=cell.precision,
        height=cell.height,
        batch=cell.batch,
        total_ms=total,
        operators=tuple(sorted(operators, key=lambda operator: -operator.ms)),
    )


def _profile_ort(path: Path, inputs: dict[str, Any], precision: str, threads: int | None) -> list[list[Event]]:
    """Return the events of each call except the first."""
    ort = require("onnxruntime", extra="cpu")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    if threads is not None:
        options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(CALLS + 1):
            session.run(None, inputs)
        recorded = json.loads(Path(session.end_profiling()).read_text())
    events = [
        (str(event["args"]["op_name"]), event["dur"] / 1e3)
        for event in recorded
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]
    length = len(events) // (CALLS + 1)
    return [events[start : start + length] for start in range(length, len(events), length)]


def _profile_openvino(path: Path, inputs: dict[str, Any], precision: str, threads: int | None) -> list[list[Event]]:
    """Return the events of each call except the first."""
    openvino = load_openvino()
    config = {"NUM_STREAMS": "1", "PERF_COUNT": "YES"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = str(threads)
    parts = compile_parts(openvino, openvino.Core(), str(path), precision, config)
    calls = []
    for _ in range(CALLS + 1):
        parts.infer(inputs)
        calls.append(
            [
                (f"{info.node_type} ({info.exec_type})", info.real_time.total_seconds() * 1e3)
                for request in parts.requests
                for info in request.profiling_info
                if info.real_time.total_seconds() > 0  # folded nodes take no time
            ]
        )
    return calls[1:]


def make_profile_rows(profiles: Sequence[Profile]) -> list[tuple[str, ...]]:
    """Return the rows of a table, the header first: the slowest operators of each profile, and the sum of the rest."""
    rows: list[tuple[str, ...]] = [("model", "engine", "operator", "size", "nodes", "ms", "share")]
    for profile in profiles:
        shown, others = profile.operators[:NUM_SHOWN], profile.operators[NUM_SHOWN:]
        lines = [(operator.name, operator.num_nodes, operator.ms) for operator in shown]
        if others:
            lines.append(
                ("others", sum(operator.num_nodes for operator in others), sum(operator.ms for operator in others))
            )
        lines.append(("all", sum(operator.num_nodes for operator in profile.operators), profile.total_ms))
        rows += [
            (
                profile.model,
                f"{profile.engine} {profile.precision}",
                name,
                f"{profile.height}x{profile.height}, {profile.batch}",
                str(num_nodes),
                f"{ms:.1f}",
                f"{ms / profile.total_ms:.1%}",
            )
            for name, num_nodes, ms in lines
        ]
    return rows
