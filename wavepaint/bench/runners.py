"""Open and run a cell: a session of the runtime, OpenCV, or a PyTorch network."""

import hashlib
import importlib
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from wavepaint.bench.cells import EAGER, Cell, Tensor, TorchConfig
from wavepaint.bench.classical import Classical
from wavepaint.bench.entrants import Subject
from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, Model, hash_file
from wavepaint.errors import EngineError
from wavepaint.optional import require
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.registry import open_execution
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.libraries import (
    ANY_GPU,
    CURRENT_GPU,
    LIBRARIES,
    Library,
    TensorRtLibrary,
    get_library,
)
from wavepaint.runtime.engines.tensorrt.plan import tensor_shape
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession
from wavepaint.runtime.sizes import Size

_RECOMPILE_LIMIT = 256
"""Largest number of compilations of a function. PyTorch's default of 8 is too low, because networks share functions."""

_GRAPH_WARMUP_RUNS = 3


@dataclass(frozen=True)
class Runner:
    """An open cell.

    Attributes:
        run: Runs a batch of a task's inputs, from host memory to host memory.
        label: Engine, version and device.
        time_compute: Enqueues a number of calls back to back, on a batch that was run before. Returns milliseconds per
            call without copies, or None if the engine cannot measure it.
    """

    run: Callable[..., Tensor]
    label: str
    time_compute: Callable[[tuple[Tensor, ...], int], float | None] = lambda inputs, num_calls: None


def open_runner(cell: Cell, stack: ExitStack, *, threads: int | None = None, plans: Path | None = None) -> Runner:
    """Open a cell.

    Args:
        cell: What to open.
        stack: Closes the runner.
        threads: CPU threads; None leaves the choice to the engine.
        plans: Folder for TensorRT plans of exactly the cell's shape. None opens plans as ``wp infer`` does.

    Raises:
        EngineError: The engine is not installed or refuses the model.
    """
    subject, execution = cell.subject, cell.execution
    if isinstance(subject, Classical):
        return Runner(*subject.open())
    assert execution is not None
    if isinstance(execution, TorchConfig):
        network = TorchNetwork(subject, execution, threads)
        stack.callback(network.close)
        return Runner(network.run, network.label, network.time_compute)
    if plans is not None and execution.engine in LIBRARIES and execution.artifact.kind == "onnx":
        session: Session = _open_exact_plan(execution, (cell.batch, cell.height, cell.width), plans)
    else:
        session = open_execution(execution, threads=threads)
    stack.enter_context(session)

    def time_compute(inputs: tuple[Tensor, ...], num_calls: int) -> float | None:
        parts = session.time_parts(*inputs, repeats=num_calls)
        return statistics.median(part.compute_ms for part in parts) if parts else None

    return Runner(session.run, session.engine, time_compute)


def run_exactly(subject: Subject, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return the output of the unfused network in PyTorch, in exact float32, image by image to save memory."""
    network = TorchNetwork(subject, EAGER, None)
    try:
        images = range(len(inputs[0]))
        return np.concatenate([network.run(*(tensor[i : i + 1] for tensor in inputs)) for i in images])
    finally:
        network.close()


class TorchNetwork:
    """A network in PyTorch, on the first GPU that PyTorch sees, or on the CPU.

    Raises:
        EngineError: PyTorch is not installed, or the configuration needs a GPU and there is none.
    """

    def __init__(self, subject: Subject, config: TorchConfig, threads: int | None) -> None:
        self._torch: Any = require("torch", extra="train")
        from wavepaint.export.graphs import make_graph

        torch, self._config = self._torch, config
        self._has_gpu = torch.cuda.is_available()
        if config.engine == "pytorch-graph" and not self._has_gpu:
            raise EngineError(f"CUDA graphs need an NVIDIA GPU, and PyTorch {torch.__version__} sees none.")
        if threads:
            torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True
        network = fuse_in_half(subject) if config.arithmetic == "float16" else subject.build_network()
        self._network: Any = make_graph(network, subject.bundle.task).eval().to("cuda" if self._has_gpu else "cpu")
        if config.engine == "torch-compile":
            self._compile()
        mode = {"pytorch": "eager", "pytorch-graph": "CUDA graph", "torch-compile": "compiled"}[config.engine]
        self.label = f"PyTorch {torch.__version__} {mode} {torch.cuda.get_device_name() if self._has_gpu else 'CPU'}"
        self._inputs: list[Any] = []
        self._output: Any = None
        self._graph: Any = None

    def _compile(self) -> None:
        """Compile on a GPU; only trace on a CPU, where compiling takes minutes."""
        config: Any = importlib.import_module("torch._dynamo.config")
        config.recompile_limit, config.fail_on_recompile_limit_hit = _RECOMPILE_LIMIT, True  # never fall back to eager
        options = {"mode": "reduce-overhead"} if self._has_gpu else {"backend": "eager"}
        self._network = self._torch.compile(self._network, dynamic=False, **options)

    def run(self, *inputs: Tensor) -> Tensor:
        """Run a batch of the task's inputs."""
        tensors = [self._torch.from_numpy(tensor) for tensor in inputs]
        if not self._has_gpu:
            self._inputs = tensors
        elif not self._inputs or self._inputs[0].shape != inputs[0].shape:
            self._inputs = [tensor.cuda() for tensor in tensors]
        else:  # a captured graph reads its inputs in place
            for tensor, target in zip(tensors, self._inputs, strict=True):
                target.copy_(tensor)
        self._compute(1)
        return cast(Tensor, self._output.cpu().numpy())

    def time_compute(self, inputs: tuple[Tensor, ...], num_calls: int) -> float | None:
        """Return milliseconds per call without copies, for the last batch of :meth:`run`; None without a GPU."""
        if not self._has_gpu:
            return None
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self._compute(num_calls)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / num_calls

    def _compute(self, num_calls: int) -> None:
        backends = self._torch.backends  # its switches are global, and other cells change them
        backends.cudnn.allow_tf32 = self._config.arithmetic == "tf32"
        backends.cuda.matmul.allow_tf32 = False
        with self._torch.inference_mode():
            if self._config.engine == "pytorch-graph" and self._graph is None:
                self._capture()
            for _ in range(num_calls):
                if self._graph is not None:
                    self._graph.replay()
                else:
                    self._output = self._network(*self._inputs)

    def _capture(self) -> None:
        side = self._torch.cuda.Stream()
        side.wait_stream(self._torch.cuda.current_stream())
        with self._torch.cuda.stream(side):
            for _ in range(_GRAPH_WARMUP_RUNS):
                self._network(*self._inputs)
        self._torch.cuda.current_stream().wait_stream(side)
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph):
            self._output = self._network(*self._inputs)
        self._graph = graph

    def close(self) -> None:
        """Free the network and its tensors."""
        self._graph = self._output = self._network = None
        self._inputs = []
        if self._config.engine == "torch-compile":
            self._torch._dynamo.reset()
        if self._has_gpu:
            self._torch.cuda.empty_cache()


def fuse_in_half(subject: Subject) -> Any:
    """Return the PyTorch network like an exported float16 model: fused, in half precision, and channels last."""
    import torch

    from wavepaint.export.fusion.fuse import fuse
    from wavepaint.export.precision import HalfPrecision

    fused: Any = fuse(subject.build_network(), upsampling="transposed").half()
    return HalfPrecision(fused.to(memory_format=torch.channels_last), torch.float16)


def _open_exact_plan(execution: ExecutionConfig, size: Size, plans: Path) -> Session:
    """Open a plan for exactly one size and for this GPU, or for any GPU if TensorRT-RTX cannot target this one.

    Raises:
        EngineError: No plan builds and runs.
    """
    library = get_library(cast(Library, execution.engine))
    library.require_gpu()
    reasons: list[str] = []
    for targets in ((CURRENT_GPU,), (ANY_GPU,)) if library.takes_targets else ((),):
        try:
            return _open_plan_for(execution.model, library, size, targets, plans)
        except Exception as error:  # the libraries raise all kinds of exceptions
            reasons.append(f"{'/'.join(targets) or 'this GPU'}: {type(error).__name__}: {error}")
    raise EngineError(f"no {execution.engine} plan runs. {' '.join(reasons)}")


def _open_plan_for(
    model: Model, library: TensorRtLibrary, size: Size, targets: tuple[str, ...], plans: Path
) -> Session:
    made_from = [hash_file(model.path), library.load().__version__, *targets, *map(str, size)]
    plan = plans / f"{hashlib.sha256(' '.join(made_from).encode()).hexdigest()[:16]}.{library.name}.plan"
    if not plan.exists():
        plans.mkdir(parents=True, exist_ok=True)
        options = PlanOptions(profiles=(Profile(min=size, opt=size, max=size),), targets=targets)
        with tempfile.TemporaryDirectory(dir=plans) as folder:
            fixed, unfinished = replace(model, path=Path(folder) / model.path.name), Path(folder) / "plan"
            _fix_sizes(model.path, fixed.path, size)
            build_plan(fixed, unfinished, library, options)
            unfinished.replace(plan)
    session = TensorRtSession(replace(model, path=plan), library, streams=1)
    try:  # TensorRT-RTX compiles its kernels on the first run
        session.run(*(np.zeros(tensor_shape(name, size, "float32"), np.float32) for name in (INPUT_IMAGE, INPUT_MASK)))
    except BaseException:
        session.close()
        raise
    session.engine += f", built for {targets[0]}" if targets else ""
    return session


def _fix_sizes(model: Path, fixed: Path, size: Size) -> None:
    """Write a copy of an ONNX model with fixed sizes, so that the library folds everything that depends on them.

    LaMa's graph, for instance, computes its Fourier matrices from the height and width.
    """
    onnx = require("onnx", extra="train")
    content = onnx.load(model)
    for value in (*content.graph.input, *content.graph.output):
        if value.name in (INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE):
            dims = value.type.tensor_type.shape.dim
            for dim, number in zip(dims, tensor_shape(value.name, size, "float32"), strict=True):
                dim.dim_value = number
    del content.graph.value_info[:]  # it has symbols for the sizes that are now fixed
    onnx.save(content, fixed)
