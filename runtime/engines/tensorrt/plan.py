"""A loaded plan: deserialised, checked against the contract, and the source of execution contexts."""

import math
import threading
from dataclasses import dataclass
from typing import Any

from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, TENSORS, IoDtype, Model
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.engines.tensorrt.callbacks import get_logger
from wavepaint.runtime.engines.tensorrt.kernel_cache import KernelCache
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.profiles import Profile
from wavepaint.runtime.sizes import Size

_CHANNELS = {INPUT_IMAGE: IMAGE_CHANNELS, INPUT_MASK: 1, OUTPUT_IMAGE: IMAGE_CHANNELS}


class PlanRefusedError(EngineError):
    """The library refuses this plan; it may accept one that is built on this machine."""


def tensor_shape(name: str, size: Size, io_dtype: IoDtype) -> tuple[int, ...]:
    """Return the shape of one of the contract's tensors at a size."""
    batch, height, width = size
    channels = _CHANNELS[name]
    return (batch, channels, height, width) if io_dtype == "float32" else (batch, height, width, channels)


def get_size(shape: tuple[int, ...], io_dtype: IoDtype) -> Size:
    """Return the size of an image batch from its shape."""
    batch, height, width = (shape[0], *shape[2:4]) if io_dtype == "float32" else shape[:3]
    return batch, height, width


@dataclass
class ExecutionContext:
    """Holds TensorRT's execution context, so that it can be freed while a traceback still refers to this object."""

    content: Any = None

    def free(self) -> None:
        """Free the context."""
        self.content = None


class LoadedPlan:
    """A deserialised plan. It is thread-safe; each of its execution contexts belongs to one thread at a time.

    Args:
        model: The plan.
        content: The plan's bytes.
        library: The library that runs the plan.
        graphs: Whether to capture CUDA graphs, if the library does that itself.

    Attributes:
        name: The library's name and version.
        profiles: The ranges of sizes in the plan.

    Raises:
        PlanRefusedError: The library refuses the plan.
        EngineError: The library is missing, or the plan breaks the contract.
        EngineMemoryError: The GPU has too little memory for the weights.
    """

    def __init__(self, model: Model, content: bytes, library: TensorRtLibrary, *, graphs: bool = True) -> None:
        self._trt: Any = library.load()
        self.path, self.io_dtype = model.path, model.artifact.io_dtype
        self.name = f"{library.label} {self._trt.__version__}"
        self._library, self._graphs = library, graphs
        self._lock = threading.Lock()
        self._logger = get_logger(self._trt)
        try:
            self._runtime = self._trt.Runtime(self._logger)
        except TypeError as error:  # the bindings raise it if the library returns nothing
            raise self._make_error("does not start") from error
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            refusal = self._make_error(f"refuses {self.path.name}")
            raise refusal if isinstance(refusal, EngineMemoryError) else PlanRefusedError(str(refusal))
        self._kernels: KernelCache | None = None
        self._run_config: Any = None
        try:
            self._check_tensors()
            self.profiles = tuple(self._read_profile(index) for index in range(self._engine.num_optimization_profiles))
            self._run_config, self._kernels = library.configure_run(self._trt, self._engine, content, graphs=graphs)
        except BaseException:
            # The exception refers to this object and may outlive the device.
            self._free()
            raise

    def _check_tensors(self) -> None:
        trt = self._trt
        dtypes = {trt.DataType.FLOAT: "float32", trt.DataType.UINT8: "uint8"}
        found = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            side = "input" if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "output"
            dtype = self._engine.get_tensor_dtype(name)
            found[name] = (side, dtypes.get(dtype, str(dtype)))
        expected = {
            tensor["name"]: (side, tensor["dtype"])
            for side in ("input", "output")
            for tensor in TENSORS[self.io_dtype][f"{side}s"]
        }
        if found != expected:
            raise EngineError(f"{self.path} has the tensors {found}, expected {expected}. Export it again.")

    def _read_profile(self, index: int) -> Profile:
        fixed = tuple(self._engine.get_tensor_shape(INPUT_IMAGE))
        shapes = [fixed] * 3 if min(fixed) > 0 else self._engine.get_tensor_profile_shape(INPUT_IMAGE, index)
        low, best, high = (get_size(tuple(shape), self.io_dtype) for shape in shapes)
        return Profile(min=low, opt=best, max=high)

    def _choose_profile(self, size: Size) -> int:
        """Return the index of the profile that contains a size and is optimised for the size nearest to it.

        Raises:
            EngineError: No profile contains the size. The message names the profiles, and how to build another.
        """
        indices = [index for index, profile in enumerate(self.profiles) if profile.sizes.contains(size)]
        if not indices:
            raise EngineError(self.explain_refusal(size))

        def distance(index: int) -> float:
            return sum(abs(math.log(a / b)) for a, b in zip(size, self.profiles[index].opt, strict=True))

        return min(indices, key=distance)

    def explain_refusal(self, size: Size) -> str:
        """Return why a size outside every profile cannot run: the profiles, and how to build one that contains it."""
        nearest = self.profiles[0]
        shapes = ",".join(
            f"{width}x{height}"
            for height, width in (
                (min(size[1], nearest.min[1]), min(size[2], nearest.min[2])),
                nearest.opt[1:],
                (max(size[1], nearest.max[1]), max(size[2], nearest.max[2])),
            )
        )
        batches = f"{min(size[0], nearest.min[0])},{nearest.opt[0]},{max(size[0], nearest.max[0])}"
        profiles = "; ".join(f"{_describe(profile.min)} to {_describe(profile.max)}" for profile in self.profiles)
        return (
            f"{_describe(size)} is outside every profile of {self.path.name} (batch x width x height: {profiles}). "
            f"Build a plan for it: wp export BUNDLE -o NEW --engine {self._library.name} --shapes {shapes} --batches "
            f"{batches}"
        )

    def create_context(self, size: Size, stream: int) -> tuple[ExecutionContext, int]:
        """Return a context for one size, and how many bytes of scratch memory it needs.

        A context keeps its size, because a captured graph does; see :meth:`set_scratch`.
        """
        profile = self._choose_profile(size)
        with self._lock:  # TensorRT's contexts are thread-safe, and creating them is not
            context = ExecutionContext(self._engine.create_execution_context(self._run_config))
        if context.content is None:
            raise self._make_error("makes no execution context")
        try:
            return context, self._prepare(context, profile, size, stream)
        except BaseException:
            context.free()
            raise

    def _prepare(self, context: ExecutionContext, profile: int, size: Size, stream: int) -> int:
        self._require(context.content.set_optimization_profile_async(profile, stream), "does not switch the profile")
        for name in (INPUT_IMAGE, INPUT_MASK):
            shape = tensor_shape(name, size, self.io_dtype)
            self._require(context.content.set_input_shape(name, shape), f"does not take {name} of shape {shape}")
        output = tuple(context.content.get_tensor_shape(OUTPUT_IMAGE))
        expected = tensor_shape(OUTPUT_IMAGE, size, self.io_dtype)
        if output != expected:
            raise EngineError(f"{self.path} gives {OUTPUT_IMAGE} of shape {output}, expected {expected}.")
        return int(context.content.update_device_memory_size_for_shapes())

    def set_scratch(self, context: ExecutionContext, address: int, num_bytes: int) -> None:
        """Set a context's scratch memory. Contexts that never run at the same time may share it."""
        if hasattr(context.content, "set_device_memory"):
            context.content.set_device_memory(address, num_bytes)
        else:  # TensorRT 10.0
            context.content.device_memory = address

    def bind(self, context: ExecutionContext, name: str, address: int) -> None:
        """Set the address of a tensor."""
        self._require(context.content.set_tensor_address(name, address), f"does not take an address for {name}")

    def enqueue(self, context: ExecutionContext, stream: int) -> None:
        """Enqueue an inference."""
        self._require(context.content.execute_async_v3(stream), "does not run")

    def find_capture_problem(self, context: ExecutionContext, stream: int) -> str:
        """Return why the library cannot capture CUDA graphs of this size itself; empty if it can or need not."""
        if not self._graphs or self._library.can_capture(context.content, stream):
            return ""
        return f"{self.name} cannot capture what {self.path.name} runs at this size"

    def _require(self, succeeded: bool, what: str) -> None:
        if not succeeded:
            raise self._make_error(what)

    def _make_error(self, what: str) -> EngineError:
        reason = self._logger.pop_last_error() or "no reason given"
        is_memory = "out of memory" in reason.lower() or "outofmemory" in reason.lower()
        return (EngineMemoryError if is_memory else EngineError)(f"{self.name} {what}: {reason}")

    def close(self) -> None:
        """Free the weights."""
        try:
            if self._kernels is not None:
                self._kernels.save()
        finally:
            self._free()

    def _free(self) -> None:
        self._kernels = self._run_config = self._engine = self._runtime = None


def _describe(size: Size) -> str:
    batch, height, width = size
    return f"{batch}x{width}x{height}"
