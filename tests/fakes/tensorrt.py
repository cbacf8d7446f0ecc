"""TensorRT without a GPU: a plan contains an ONNX model, which ONNX Runtime runs on a simulated GPU's memory.

The simulated module offers the part of the real bindings that the runtime uses. It behaves like them: a failure returns
False or None and logs a message, the first run of a shape cannot be captured, and switching the profile resets shapes
and addresses.
"""

import base64
import json
import weakref
from collections.abc import Mapping
from enum import Enum
from math import prod
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from tests.fakes.gpu import MisuseError, Operation, SimulatedGpu
from wavepaint.contract import Model, hash_file
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.plan import tensor_shape
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions

NAMES = ("image", "mask", "image_out")


def write_plan(
    path: Path, onnx: Path, io_dtype: str, profiles: Any, changes: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write a plan of an ONNX model; each profile is (min, opt, max) of (batch, height, width)."""
    model = base64.b64encode(onnx.read_bytes()).decode()
    plan = {"onnx": model, "io_dtype": io_dtype, "profiles": profiles, "names": list(NAMES), "made_by": "11.0"}
    path.write_text(json.dumps({**plan, **changes}))


def build_plan(
    model: Model, plan_path: Path, library: TensorRtLibrary, options: PlanOptions, **callbacks: Any
) -> dict[str, Any]:
    """A stand-in for :func:`wavepaint.runtime.engines.tensorrt.build.build_plan`."""
    profiles = [(profile.min, profile.opt, profile.max) for profile in options.profiles]
    write_plan(plan_path, model.path, model.artifact.io_dtype, profiles)
    return {
        "library": library.name,
        "library_version": "11.0",
        "compute_capabilities": ["sm120"],
        "profiles": [dict(zip(("min", "opt", "max"), map(list, profile), strict=True)) for profile in profiles],
        "onnx": model.artifact.path,
        "onnx_sha256": hash_file(model.path),
    }


class SimulatedTensorRt:
    """Stands in for the module ``tensorrt``, or ``tensorrt_rtx``.

    Attributes:
        contexts: Execution contexts that are alive.
        engines: Deserialised plans that are alive.
        strategies: For every context of TensorRT-RTX how it captures graphs and when it compiles kernels.
        fails: Names of methods of a context that fail, with the logged message.
    """

    class ILogger:
        Severity = SimpleNamespace(ERROR="error", INTERNAL_ERROR="internal error")

        def __init__(self) -> None:
            pass

    ComputeCapability = Enum("ComputeCapability", ["NONE", "CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120", "SM121"])
    DataType = Enum("DataType", ["FLOAT", "UINT8", "HALF"])
    TensorIOMode = Enum("TensorIOMode", ["INPUT", "OUTPUT"])
    ExecutionContextAllocationStrategy = Enum("ExecutionContextAllocationStrategy", ["STATIC", "USER_MANAGED"])
    CudaGraphStrategy = Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
    DynamicShapesKernelSpecializationStrategy = Enum("DynamicShapesKernelSpecializationStrategy", ["LAZY", "EAGER"])

    def __init__(self, gpu: SimulatedGpu, version: str = "11.0") -> None:
        self.gpu, self.__version__ = gpu, version
        self.contexts: weakref.WeakSet[Context] = weakref.WeakSet()
        self.engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self.strategies: list[Any] = []
        self.fails: dict[str, str] = {}
        self.models: dict[str, onnxruntime.InferenceSession] = {}

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        return SimpleNamespace(deserialize_cuda_engine=lambda content: self._deserialize(content, logger))

    def _deserialize(self, content: bytes, logger: Any) -> "Engine | None":
        if "deserialize" in self.fails:
            logger.log("error", self.fails["deserialize"])
            return None
        try:
            plan = json.loads(content)
            if plan["made_by"] != self.__version__:
                raise ValueError("version tag does not match")
        except ValueError as error:
            logger.log("error", f"Serialization assertion failed: {error}")
            return None
        return Engine(self, plan, logger)

    def model(self, onnx: str) -> onnxruntime.InferenceSession:
        if onnx not in self.models:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            content = base64.b64decode(onnx)
            self.models[onnx] = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return self.models[onnx]


class Engine:
    def __init__(self, trt: SimulatedTensorRt, plan: dict[str, Any], logger: Any) -> None:
        self.trt, self.plan, self.logger = trt, plan, logger
        self.num_io_tensors, self.num_optimization_profiles = len(plan["names"]), len(plan["profiles"])
        trt.engines.add(self)

    def get_tensor_name(self, index: int) -> str:
        return str(self.plan["names"][index])

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode.OUTPUT if name == NAMES[2] else self.trt.TensorIOMode.INPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return {"float32": self.trt.DataType.FLOAT, "uint8": self.trt.DataType.UINT8}.get(
            self.plan["io_dtype"], self.trt.DataType.HALF
        )

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (low, _, high), *others = self.plan["profiles"]
        sizes = low if low == high and not others else (-1, -1, -1)
        return tensor_shape(name, tuple(sizes), self.plan["io_dtype"])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [tensor_shape(name, tuple(size), self.plan["io_dtype"]) for size in self.plan["profiles"][index]]

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(
            set_execution_context_allocation_strategy=lambda strategy: self._require_user_managed(strategy),
            cuda_graph_strategy=self.trt.CudaGraphStrategy.DISABLED,
            dynamic_shapes_kernel_specialization_strategy=self.trt.DynamicShapesKernelSpecializationStrategy.LAZY,
            create_runtime_cache=lambda: Kernels(self.trt),
            set_runtime_cache=lambda cache: isinstance(cache, Kernels),
        )

    def _require_user_managed(self, strategy: Any) -> None:
        if strategy is not self.trt.ExecutionContextAllocationStrategy.USER_MANAGED:
            raise MisuseError("scratch memory is given, and the strategy takes none")

    def create_execution_context(self, how: Any) -> "Context | None":
        if isinstance(how, SimpleNamespace):
            self.trt.strategies.append((how.cuda_graph_strategy, how.dynamic_shapes_kernel_specialization_strategy))
        else:
            self._require_user_managed(how)
        if "create_execution_context" in self.trt.fails:
            self.logger.log("error", self.trt.fails["create_execution_context"])
            return None
        return Context10(self) if self.trt.__version__.startswith("10.0") else Context(self)


class Kernels:
    """A runtime cache of TensorRT-RTX, which stores the kernels that contexts compile."""

    def __init__(self, trt: SimulatedTensorRt) -> None:
        self.trt, self.content = trt, b""

    def deserialize(self, content: bytes) -> bool:
        if not content.startswith(self.trt.__version__.encode()):
            return False
        self.content = content
        return True

    def serialize(self) -> memoryview:
        return memoryview(self.content or f"{self.trt.__version__} kernels".encode())


class Context:
    SCRATCH_PER_PIXEL = 8

    def __init__(self, engine: Engine) -> None:
        self.engine, self.gpu, self.io_dtype = engine, engine.trt.gpu, engine.plan["io_dtype"]
        self.scratch = (0, 0)
        self.has_run = False
        self._forget(0)
        engine.trt.contexts.add(self)

    def _forget(self, profile: int) -> None:
        self.profile = profile
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def is_stream_capturable(self, stream: int) -> bool:
        return stream in self.gpu.streams and not self._fails("is_stream_capturable")

    def _fails(self, method: str) -> bool:
        message = self.engine.trt.fails.get(method)
        if message:
            self.engine.logger.log("error", message)
        return bool(message)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.gpu.note("profile", index)
        self._forget(index)
        return stream in self.gpu.streams and not self._fails("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
        if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            self.engine.logger.log("error", f"{name} {shape} is out of profile {self.profile}")
            return False
        self.shapes[name], self.has_run = shape, False
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes["image" if name == "image_out" else name]

    def update_device_memory_size_for_shapes(self) -> int:
        return prod(self.shapes["mask"]) * self.SCRATCH_PER_PIXEL

    def set_device_memory(self, address: int, num_bytes: int) -> None:
        if num_bytes < self.update_device_memory_size_for_shapes():
            raise MisuseError("too little scratch memory")
        self.gpu.block(address)
        self.scratch = (address, num_bytes)

    def set_tensor_address(self, name: str, address: int) -> bool:
        itemsize = np.dtype(self.io_dtype).itemsize
        if self.gpu.block(address).content.size < prod(self.get_tensor_shape(name)) * itemsize:
            raise MisuseError(f"too little memory for {name}")
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        with self.gpu.lock:
            self.gpu.note("execute", stream, self.profile)
            is_captured = self.gpu.streams[stream].recorded is not None
            if self._fails("capture" if is_captured else "execute_async_v3"):
                return False
            if is_captured and not self.has_run:
                self.engine.logger.log("error", "the first run of a shape cannot be captured")
                return False
            if {*self.addresses} != {*NAMES}:
                raise MisuseError("an inference without the tensors' addresses")
            self.has_run = True
            inputs = [(name, self.addresses[name], self.shapes[name]) for name in NAMES[:2]]
            output, scratch = self.addresses[NAMES[2]], self.scratch[0]

            def act() -> None:
                self.gpu.block(scratch)
                tensors = {
                    name: self.gpu.read(address).view(self.io_dtype).reshape(shape) for name, address, shape in inputs
                }
                model = self.engine.trt.model(self.engine.plan["onnx"])
                result = np.ascontiguousarray(model.run([NAMES[2]], tensors)[0])
                self.gpu.write(output, result.reshape(-1).view(np.uint8))

            reads = tuple(address for _, address, _ in inputs)
            self.gpu.enqueue(stream, Operation("execute", reads, (output, scratch), act))
            return True


class Context10(Context):
    """A context of TensorRT 10.0, which takes scratch memory without its size."""

    @property
    def set_device_memory(self) -> Any:
        raise AttributeError

    device_memory = property(fset=lambda self, address: setattr(self, "scratch", (address, 1 << 60)))
