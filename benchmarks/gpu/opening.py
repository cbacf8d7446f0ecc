"""Opening cells: which engine each needs, and how PyTorch is asked for its best."""

import os
from typing import Any, cast

import torch
from torch import nn

from benchmarks.gpu.cells import NEEDS_GPU, Cell, Place
from benchmarks.gpu.graphs import FilePrecision, open_graph
from benchmarks.gpu.lanes import NotRunError, SessionLane, StreamContext, TorchLane
from benchmarks.gpu.networks import ByteIo, build, find_size_multiple, make_plain_half
from benchmarks.gpu.plans import Alive, open_plan, try_to_build
from benchmarks.gpu.transforms import fill_matrices, keep_matrices
from wavepaint.contract import Artifact, Model
from wavepaint.errors import EngineError
from wavepaint.export.to_onnx import InpaintingGraph
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.session import Session

NO_GPU = "not run: no GPU"

_RECOMPILE_LIMIT = 256
"""More than a heat has compiled cells. All networks run the same few functions, for each of which PyTorch by itself
compiles eight times and then runs eagerly, without a word."""


def open_lane(cell: Cell, place: Place, alive: Alive = lambda: None) -> StreamContext:
    """Open a cell.

    Args:
        cell: What to open.
        place: Where.
        alive: Called now and then while a plan is built.

    Raises:
        NotRunError: It needs what is not here.
        EngineError: The engine refuses it.
    """
    if cell.engine == "failure":
        return _fail(cell)
    if cell.engine in ("pytorch", "torch-compile"):
        return _open_torch(cell, place)
    has_no_gpu = cell.engine in NEEDS_GPU and place.device != "cuda"
    if has_no_gpu and cell.engine != "tensorrt-rtx":
        raise NotRunError(NO_GPU)
    path = open_graph(
        cell.model, cast(FilePrecision, cell.precision), cell.io_dtype, prepared=place.prepared, work=place.work
    )
    multiple = find_size_multiple(cell.model)
    if has_no_gpu:
        raise NotRunError(NO_GPU + try_to_build(cell, path, multiple, place, alive))
    if cell.engine in ("ort-cuda", "ort-cpu"):
        device: Any = cell.engine.removeprefix("ort-")
        artifact = Artifact(path=path.name, kind="onnx", precision=cell.precision, io_dtype=cell.io_dtype)
        session: Session = OrtSession(Model(path, artifact, multiple), device=device)
        return SessionLane(session)
    return open_plan(cell, path, multiple, place, alive)


def _fail(cell: Cell) -> StreamContext:
    if cell.model == "a-death":
        os.abort()
    raise EngineError("this cell fails on purpose, to show that a failing cell stops nothing.")


def _open_torch(cell: Cell, place: Place) -> StreamContext:
    if place.device != "cuda" and cell.launch == "graph":
        raise NotRunError(f"{NO_GPU}, and CUDA graphs are of GPUs")
    network: nn.Module = make_plain_half(cell.model) if cell.precision == "float16" else build(cell.model)
    network = network.to(place.device).eval()
    if cell.precision == "float16" and keep_matrices(network) and cell.engine == "torch-compile":
        fill_matrices(network, cell.side, place.device)  # the others run eagerly before they capture, if they do
    network = (ByteIo if cell.io_dtype == "uint8" else InpaintingGraph)(network).eval()
    label = f"PyTorch {torch.__version__} "
    if cell.engine == "pytorch":
        label += "CUDA graph" if cell.launch == "graph" else "eager"
        if cell.precision == "float16":
            label += ", fused, channels-last"
        return TorchLane(network, place.device, label, graph=cell.launch == "graph", precision=cell.precision)
    _let_compile()
    if place.device == "cuda":
        mode = "reduce-overhead" if cell.launch == "graph" else "default"
        compiled: Any = torch.compile(network, dynamic=False, mode=mode)
    else:  # the compiler takes half a minute on a CPU; what leads to it is tried
        mode, compiled = "traced alone", torch.compile(network, dynamic=False, backend="eager")
    return TorchLane(compiled, place.device, f"{label}torch.compile ({mode})")


def _let_compile() -> None:
    """Let PyTorch compile as often as there are cells, and fail rather than run eagerly."""
    import torch._dynamo

    config: Any = torch._dynamo.config
    for name, value in (
        ("recompile_limit", _RECOMPILE_LIMIT),
        ("cache_size_limit", _RECOMPILE_LIMIT),  # the same by its name before PyTorch 2.7
        ("fail_on_recompile_limit_hit", True),
    ):
        if hasattr(config, name):
            setattr(config, name, value)


def forget_compiled() -> None:
    """Forget what PyTorch compiled; no compiled cell may be open."""
    import torch._dynamo

    torch._dynamo.reset()
