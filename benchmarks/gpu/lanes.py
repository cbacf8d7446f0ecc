"""Cells that are open and can be timed: with the copies to the device and back, and the computing alone.

PyTorch copies through pinned memory on a stream of its own, as the runtime's TensorRT session does, so that with copies
all engines do the same work; without them, CUDA events stand around the execution alone, on tensors that lie on the
device. Without a GPU everything runs on the CPU, for a dry run.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gpu.ceilings import new_event
from benchmarks.gpu.cells import NEEDS_GPU, Cell, Place
from benchmarks.gpu.graphs import FilePrecision, open_graph
from benchmarks.gpu.networks import ByteEdges, build, find_size_multiple, make_plain_half
from wavepaint.contract import Artifact
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.export.to_onnx import InpaintingGraph
from wavepaint.runtime.gpu import find_gpus
from wavepaint.runtime.ort_session import OrtSession
from wavepaint.runtime.plan import Library, PlanOptions, Profile, build_plan, load_library
from wavepaint.runtime.session import Session
from wavepaint.runtime.trt_session import TensorRtSession

Tensor = NDArray[Any]

NO_GPU = "not run: no GPU"
AHEAD_OF_TIME = "sm86"
"""What plans are built for where there is no GPU, to see that they build."""

_OTHER_TARGETS: tuple[tuple[str, ...], ...] = (("sm80",),)
"""What TensorRT-RTX is tried for on a GPU that it does not build for: Hopper's code is in it, its documents leave it
out, and Ampere's plans are the nearest."""

_WARMUP_RUNS = 3


class NotRunError(EngineError):
    """A cell cannot be run here, which is no failure of what it measures."""


class Lane(ABC):
    """An open cell."""

    label: str
    plan_mb: float | None = None
    build_s: float | None = None

    @abstractmethod
    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill a batch, from the host's memory to the host's memory."""

    @abstractmethod
    def time_compute(self, image: Tensor, mask: Tensor, num_runs: int) -> list[float]:
        """Return milliseconds of runs without copies; none where that cannot be told. The batch was run before."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held."""


class TorchLane(Lane):
    """A PyTorch network.

    Args:
        network: On the device, in evaluation mode.
        device: "cuda" or "cpu".
        label: For people.
        graph: Whether to capture a CUDA graph.
        tf32: Whether products of float32 may be rounded to ten bits.
    """

    def __init__(
        self, network: Callable[..., torch.Tensor], device: str, label: str, *, graph: bool = False, tf32: bool = False
    ) -> None:
        self._network, self._device, self.label = network, device, label
        self._wants_graph, self._tf32 = graph, tf32
        self._graph: Any = None
        self._inputs: list[torch.Tensor] = []
        self._pinned: list[torch.Tensor] = []
        self._output: torch.Tensor | None = None
        self._pinned_output: torch.Tensor | None = None
        self._stream = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]

    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        with torch.inference_mode():
            if self._stream is None:
                return self._network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
            with torch.cuda.stream(self._stream):
                self._copy_in(image, mask)
                self._compute()
                assert self._output is not None
                if self._pinned_output is None:
                    self._pinned_output = torch.empty_like(self._output, device="cpu").contiguous().pin_memory()
                self._pinned_output.copy_(self._output, non_blocking=True)
            self._stream.synchronize()
            return self._pinned_output.numpy().copy()

    def _copy_in(self, image: Tensor, mask: Tensor) -> None:
        tensors = [torch.from_numpy(image), torch.from_numpy(mask)]
        if not self._inputs:
            self._pinned = [tensor.clone().pin_memory() for tensor in tensors]
            self._inputs = [tensor.to(self._device) for tensor in tensors]
        for tensor, pinned, target in zip(tensors, self._pinned, self._inputs, strict=True):
            pinned.copy_(tensor)
            target.copy_(pinned, non_blocking=True)

    def _compute(self) -> None:
        allow_tf32(self._tf32)
        if self._graph is not None:
            self._graph.replay()
            return
        if self._wants_graph:
            assert self._stream is not None
            for _ in range(_WARMUP_RUNS):
                self._network(*self._inputs)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._output = self._network(*self._inputs)
            self._graph = graph
            self._graph.replay()
            return
        self._output = self._network(*self._inputs)

    def time_compute(self, image: Tensor, mask: Tensor, num_runs: int) -> list[float]:
        times = []
        with torch.inference_mode():
            if self._stream is None:
                tensors = torch.from_numpy(image), torch.from_numpy(mask)
                for _ in range(num_runs):
                    started = time.perf_counter()
                    self._network(*tensors)
                    times.append((time.perf_counter() - started) * 1e3)
                return times
            for _ in range(num_runs):
                start, end = new_event(), new_event()
                with torch.cuda.stream(self._stream):
                    start.record()
                    self._compute()
                    end.record()
                end.synchronize()
                times.append(float(start.elapsed_time(end)))
        return times

    def close(self) -> None:
        self._graph = self._output = self._pinned_output = None
        self._inputs, self._pinned = [], []
        self._network = _closed
        if self._stream is not None:
            torch.cuda.empty_cache()


def allow_tf32(allowed: bool) -> None:
    """Let PyTorch round products of float32 to ten bits on a GPU, or forbid it, which it does not do by default."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def _closed(*tensors: torch.Tensor) -> torch.Tensor:
    raise EngineError("this lane is closed. Open another one.")


class SessionLane(Lane):
    """A session of the runtime."""

    def __init__(self, session: Session) -> None:
        self._session, self.label = session, session.engine

    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        return self._session.run(image, mask)

    def time_compute(self, image: Tensor, mask: Tensor, num_runs: int) -> list[float]:
        return [parts.compute_ms for parts in self._session.time_parts(image, mask, num_runs)]

    def close(self) -> None:
        self._session.close()


def open_lane(cell: Cell, place: Place) -> Lane:
    """Open a cell.

    Raises:
        NotRunError: It needs what is not here.
        EngineError: The engine refuses it.
    """
    if cell.engine == "failure":
        return _fail(cell)
    if cell.engine in ("pytorch", "torch-compile"):
        return _open_torch(cell, place)
    if cell.engine in NEEDS_GPU and place.device != "cuda":
        raise NotRunError(NO_GPU + _try_to_build(cell, place))
    precision = cast(FilePrecision, cell.precision)
    path = open_graph(cell.model, precision, cell.edges, prepared=place.prepared, work=place.work)
    multiple = find_size_multiple(cell.model)
    if cell.engine in ("ort-cuda", "ort-cpu"):
        device: Any = cell.engine.removeprefix("ort-")
        session: Session = OrtSession(path, device=device, edges=cell.edges, size_multiple=multiple, threads=None)
        return SessionLane(session)
    return _open_plan(cell, path, multiple, place)


def _fail(cell: Cell) -> Lane:
    if cell.model == "a-death":
        import os

        os.abort()
    raise EngineError("this cell fails on purpose, to show that a failing cell stops nothing.")


def _open_torch(cell: Cell, place: Place) -> Lane:
    if place.device != "cuda" and cell.launch == "graph":
        raise NotRunError(f"{NO_GPU}, and CUDA graphs are of GPUs")
    network: nn.Module = make_plain_half(cell.model) if cell.precision == "float16" else build(cell.model)
    network = (ByteEdges if cell.edges == "uint8" else InpaintingGraph)(network).to(place.device).eval()
    label = f"PyTorch {torch.__version__} "
    if cell.engine == "pytorch":
        label += "CUDA graph" if cell.launch == "graph" else "eager"
        if cell.precision == "float16":
            label += ", fused, channels-last"
        is_graph, is_tf32 = cell.launch == "graph", cell.precision == "tf32"
        return TorchLane(network, place.device, label, graph=is_graph, tf32=is_tf32)
    if place.device == "cuda":
        mode = "reduce-overhead" if cell.launch == "graph" else "default"
        compiled: Any = torch.compile(network, dynamic=False, mode=mode)
    else:  # the compiler takes half a minute on a CPU; what leads to it is tried
        mode, compiled = "traced alone", torch.compile(network, dynamic=False, backend="eager")
    return TorchLane(compiled, place.device, f"{label}torch.compile ({mode})")


def _open_plan(cell: Cell, onnx: Path, multiple: int, place: Place) -> Lane:
    """Open a plan for exactly the shape, built for the GPU at hand, or, where that fails, for another that may fit."""
    reasons = []
    for targets in ((), *_OTHER_TARGETS) if cell.engine == "tensorrt-rtx" else ((),):
        try:
            return _open_plan_for(cell, onnx, multiple, place, targets)
        except EngineMemoryError:
            raise
        except EngineError as error:
            reasons.append(f"{'for ' + targets[0] if targets else 'for the GPU at hand'}: {error}")
    raise EngineError(" ".join(reasons))


def _open_plan_for(cell: Cell, onnx: Path, multiple: int, place: Place, targets: tuple[str, ...]) -> Lane:
    library = cast(Library, cell.engine)
    made_by = "-".join((library, load_library(library).__version__, *targets))
    plan = place.work / f"{cell.model}.{cell.precision}.{cell.edges}.{cell.side}.b{cell.batch}.{made_by}.plan"
    started = time.perf_counter()
    if not plan.exists():
        _build(cell, onnx, plan, multiple, targets)
    build_s = time.perf_counter() - started
    session = TensorRtSession(
        plan,
        library=library,
        edges=cell.edges,
        size_multiple=multiple,
        precision=cell.precision,
        streams=1,
        graphs=cell.launch == "graph",
    )
    lane = SessionLane(session)
    lane.plan_mb, lane.build_s = plan.stat().st_size / 1e6, build_s
    lane.label += f", built for {targets[0]}" if targets else ""
    return lane


def _build(cell: Cell, onnx: Path, plan: Path, multiple: int, targets: tuple[str, ...]) -> None:
    """Build a plan for exactly the shape that is timed, beside its final name first."""
    size = (cell.batch, cell.side, cell.side)
    options = PlanOptions(profiles=(Profile(min=size, opt=size, max=size),), targets=targets)
    artifact = Artifact(path=onnx.name, kind="onnx", precision=cell.precision, edges=cell.edges)
    unfinished = plan.with_suffix(".unfinished")
    plan.parent.mkdir(parents=True, exist_ok=True)
    build_plan(onnx, unfinished, artifact, multiple, cast(Library, cell.engine), options)
    unfinished.replace(plan)


def _try_to_build(cell: Cell, place: Place) -> str:
    """Build a plan ahead of time where the library can, and say so; empty where it cannot."""
    if cell.engine != "tensorrt-rtx" or find_gpus():
        return ""
    try:
        precision = cast(FilePrecision, cell.precision)
        onnx = open_graph(cell.model, precision, cell.edges, prepared=place.prepared, work=place.work)
        plan = place.work / f"{cell.model}.{cell.edges}.{AHEAD_OF_TIME}.plan"
        if not plan.exists():
            _build(cell, onnx, plan, find_size_multiple(cell.model), (AHEAD_OF_TIME,))
    except EngineError as error:
        return f"; nor could a plan be built: {error}"
    return f"; a plan for {AHEAD_OF_TIME} was built ahead of time, {plan.stat().st_size / 1e6:.2f} MB"


def free_device_mb() -> float:
    """Return how much memory of the device is free, in MiB; 0 without one."""
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info()[0] / 2**20)


def is_poisoned() -> bool:
    """Say whether an error has left the process's CUDA context unusable, so that only another process can go on."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        torch.ones(1, device="cuda").item()
    except RuntimeError:
        return True
    return False
