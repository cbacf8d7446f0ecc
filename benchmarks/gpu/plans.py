"""Plans of TensorRT and TensorRT-RTX for the cells: of exactly one shape, from graphs in which sizes are numbers."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.gpu.card import is_out_of_memory
from benchmarks.gpu.cells import Cell, Place
from benchmarks.gpu.freezing import freeze_file
from benchmarks.gpu.lanes import SessionLane, describe_error
from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, Artifact, Model
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.library import ANY_GPU, CURRENT_GPU, Library, get_library
from wavepaint.runtime.engines.tensorrt.plan import tensor_shape
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

Alive = Callable[[], None]
"""Called now and then while something goes on that takes long."""

AHEAD_OF_TIME = "sm86"
"""What plans are built for where there is no GPU, to see that they build."""

_TARGETS: dict[str, tuple[tuple[str, ...], ...]] = {"tensorrt": ((),), "tensorrt-rtx": ((CURRENT_GPU,), (ANY_GPU,))}
"""What plans are built for, until one runs; TensorRT knows nothing but the GPU at hand. TensorRT-RTX has no name for
Hopper, whose code is in it all the same: what it does not take for the GPU at hand may run as a plan for every GPU."""

_worked: dict[str, tuple[str, ...]] = {}
"""What plans that ran in this process were built for, by engine: what fails there would fail for every cell."""

_FIRST_RUNS = 2
"""The second run captures a CUDA graph, or tells why not."""


def open_plan(cell: Cell, onnx: Path, multiple: int, place: Place, alive: Alive) -> SessionLane:
    """Open a plan for exactly the shape, built for the GPU at hand, or, where none runs, for every GPU.

    Raises:
        EngineError: No plan builds, opens and runs; all reasons are told.
        Exception: The memory does not suffice; another plan would need as much.
    """
    reasons: list[str] = []
    for targets in sorted(_TARGETS[cell.engine], key=lambda one: one != _worked.get(cell.engine)):
        built_for = "every GPU" if ANY_GPU in targets else "the GPU at hand"
        try:
            lane = _open_plan_for(cell, onnx, multiple, place, targets, alive)
        except Exception as error:  # libraries raise what they like, an unknown GPU may be a missing attribute
            if is_out_of_memory(error):
                raise
            reasons.append(f"for {built_for}: {describe_error(error)}")
            continue
        _worked[cell.engine] = targets
        lane.label += f", built for {built_for}" if len(_TARGETS[cell.engine]) > 1 else ""
        lane.note = "; ".join(filter(None, (lane.note, *reasons)))
        return lane
    raise EngineError(" ".join(reasons))


def _open_plan_for(
    cell: Cell, onnx: Path, multiple: int, place: Place, targets: tuple[str, ...], alive: Alive
) -> SessionLane:
    """Build a plan unless it is there, open it, and run it: TensorRT-RTX compiles its kernels no earlier."""
    library = get_library(cast(Library, cell.engine))
    made_by = "-".join((library.name, library.load().__version__, *targets))
    plan = place.work / f"{cell.model}.{cell.precision}.{cell.io_dtype}.{cell.side}.b{cell.batch}.{made_by}.plan"
    started = time.perf_counter()
    if not plan.exists():
        _build(cell, onnx, plan, multiple, targets, alive)
    build_s = time.perf_counter() - started
    artifact = Artifact(path=plan.name, kind=library.name, precision=cell.precision, io_dtype=cell.io_dtype)
    session = TensorRtSession(Model(plan, artifact, multiple), library, streams=1, graphs=cell.launch == "graph")
    try:
        size = (cell.batch, cell.side, cell.side)
        image, mask = (
            np.zeros(tensor_shape(name, size, cell.io_dtype), cell.io_dtype) for name in (INPUT_IMAGE, INPUT_MASK)
        )
        session.run(image, mask)
        first_run_s = time.perf_counter() - started - build_s
        for _ in range(_FIRST_RUNS - 1):
            session.run(image, mask)
    except BaseException:
        session.close()
        raise
    lane = SessionLane(session)
    lane.plan_mb, lane.build_s, lane.first_run_s = plan.stat().st_size / 1e6, build_s, first_run_s
    note = _locate_note(plan)
    lane.note = "; ".join(filter(None, (note.read_text("utf-8") if note.exists() else "", session.graph_problem)))
    return lane


def _locate_note(plan: Path) -> Path:
    """Return the file that says what was not done as it should be for a plan, which outlives the run that built it."""
    return plan.with_suffix(".note")


def _build(cell: Cell, onnx: Path, plan: Path, multiple: int, targets: tuple[str, ...], alive: Alive) -> None:
    """Build a plan for exactly the shape that is timed, beside its final name first."""
    size = (cell.batch, cell.side, cell.side)
    options = PlanOptions(profiles=(Profile(min=size, opt=size, max=size),), targets=targets)
    artifact = Artifact(path=onnx.name, kind="onnx", precision=cell.precision, io_dtype=cell.io_dtype)
    unfinished, frozen = plan.with_suffix(".unfinished"), plan.with_suffix(".onnx")
    plan.parent.mkdir(parents=True, exist_ok=True)
    try:
        note = freeze_file(onnx, frozen, cell.batch, cell.side, cell.io_dtype)
        library = get_library(cast(Library, cell.engine))
        model = Model(frozen, artifact, multiple)
        build_plan(model, unfinished, library, options, on_progress=lambda phase, share: alive())
    finally:
        frozen.unlink(missing_ok=True)  # as large as the model, and there would be one for every shape
    if note:
        _locate_note(plan).write_text(note, "utf-8")
    unfinished.replace(plan)


def try_to_build(cell: Cell, onnx: Path, multiple: int, place: Place, alive: Alive) -> str:
    """Build a plan ahead of time where the library can, and say so; empty where it cannot."""
    if cell.engine != "tensorrt-rtx" or find_gpus():
        return ""
    plan = place.work / f"{cell.model}.{cell.io_dtype}.{AHEAD_OF_TIME}.plan"
    try:
        if not plan.exists():
            _build(cell, onnx, plan, multiple, (AHEAD_OF_TIME,), alive)
    except EngineError as error:
        return f"; nor could a plan be built: {error}"
    return f"; a plan for {AHEAD_OF_TIME} was built ahead of time, {plan.stat().st_size / 1e6:.2f} MB"
