"""A plan in memory: deserialised, held against the contract, and asked for execution contexts."""

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, TENSORS, IoDtype
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.engines.tensorrt.build import Library, Profile, load_library, name_library
from wavepaint.runtime.engines.tensorrt.callbacks import get_logger
from wavepaint.runtime.engines.tensorrt.kernel_cache import KernelCache
from wavepaint.runtime.sizes import Size

_CHANNELS = {INPUT_IMAGE: 3, INPUT_MASK: 1, OUTPUT_IMAGE: 3}


class PlanRefusedError(EngineError):
    """The library does not take this plan; one that is built here may do."""


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
class Context:
    """An execution context, which can be freed while the traceback of an error still holds this object."""

    content: Any = None

    def free(self) -> None:
        """Free it; it is not used again."""
        self.content = None


class LoadedPlan:
    """A deserialised plan, thread-safe; each of its contexts belongs to one thread at a time.

    Args:
        path: The plan's file, for messages.
        content: The plan.
        library: Whose plan it is.
        io_dtype: Kind of its inputs and outputs.
        graphs: Whether a library that captures CUDA graphs by itself shall.

    Attributes:
        name: The library's name and version.
        profiles: Ranges of sizes, as the plan has them.
        captures_itself: Whether the library captures CUDA graphs by itself.

    Raises:
        PlanRefusedError: The library does not take the plan.
        EngineError: The library is missing, or the plan breaks the contract.
        EngineMemoryError: The GPU cannot hold the weights.
    """

    def __init__(self, path: Path, content: bytes, *, library: Library, io_dtype: IoDtype, graphs: bool = True) -> None:
        trt = load_library(library)
        self.path, self.io_dtype, self.captures_itself = path, io_dtype, library == "tensorrt-rtx"
        self.name = name_library(library, trt.__version__)
        self._trt: Any = trt
        self._lock, self._graphs = threading.Lock(), graphs
        self._logger = get_logger(trt)
        try:
            self._runtime = trt.Runtime(self._logger)
        except TypeError as error:  # what the bindings raise where the library returns nothing
            raise self._error("does not start") from error
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            refusal = self._error(f"refuses {path.name}")
            raise refusal if isinstance(refusal, EngineMemoryError) else PlanRefusedError(str(refusal))
        self._kernels: KernelCache | None = None
        self._config: Any = None
        try:
            self._check_tensors()
            self.profiles = tuple(self._read_profile(index) for index in range(self._engine.num_optimization_profiles))
            if self.captures_itself:
                self._config = self._make_config(content)
        except BaseException:
            # The exception holds this object, and the device may be closed before it is forgotten.
            self._kernels = self._config = self._engine = self._runtime = None
            raise

    def _make_config(self, content: bytes) -> Any:
        """Return how TensorRT-RTX shall run.

        It compiles the kernels for a shape before it runs that shape: by default it would run others meanwhile, and
        what runs would not be what was verified. It alone knows when a graph is worth capturing. What it compiled
        serves all contexts.
        """
        trt, config = self._trt, self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        strategies = trt.CudaGraphStrategy
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if self._graphs else strategies.DISABLED
        self._kernels = KernelCache(config, content, trt.__version__)
        return config

    def _check_tensors(self) -> None:
        trt = self._trt
        kinds = {trt.DataType.FLOAT: "float32", trt.DataType.UINT8: "uint8"}
        found = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            side = "input" if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "output"
            dtype = self._engine.get_tensor_dtype(name)
            found[name] = (side, kinds.get(dtype, str(dtype)))
        expected = {
            tensor["name"]: (side, tensor["dtype"])
            for side in ("input", "output")
            for tensor in TENSORS[self.io_dtype][f"{side}s"]
        }
        if found != expected:
            raise EngineError(f"{self.path} has the tensors {found}, the contract wants {expected}. Export it again.")

    def _read_profile(self, index: int) -> Profile:
        fixed = tuple(self._engine.get_tensor_shape(INPUT_IMAGE))
        shapes = [fixed] * 3 if min(fixed) > 0 else self._engine.get_tensor_profile_shape(INPUT_IMAGE, index)
        low, best, high = (get_size(tuple(shape), self.io_dtype) for shape in shapes)
        return Profile(min=low, opt=best, max=high)

    def find_profile(self, size: Size) -> int | None:
        """Return the profile that holds a size and whose best size is nearest to it; None if none does."""
        holding = [index for index, profile in enumerate(self.profiles) if profile.holds(size)]
        return min(
            holding,
            key=lambda index: sum(
                abs(math.log(a / b)) for a, b in zip(size, self.profiles[index].opt, strict=True)
            ),
            default=None,
        )  # fmt: skip

    def choose_profile(self, size: Size) -> int:
        """Return the profile for a size.

        Raises:
            EngineError: Every profile is too small or too large; the profiles are named, and how to build one.
        """
        index = self.find_profile(size)
        if index is None:
            raise EngineError(self.refusal(size))
        return index

    def refusal(self, size: Size) -> str:
        """Return why a size outside every profile cannot be run: the profiles, and how to build one that holds it."""
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
        held = "; ".join(f"{_describe(profile.min)} to {_describe(profile.max)}" for profile in self.profiles)
        kind = "tensorrt-rtx" if self.captures_itself else "tensorrt"
        return (
            f"{_describe(size)} is outside every profile of {self.path.name} (batch x width x height: {held}). Build a "
            f"plan that holds it: wp export BUNDLE -o NEW --engine {kind} --shapes {shapes} --batches {batches}"
        )

    def create_context(self, size: Size, stream: int) -> tuple[Context, int]:
        """Return a context for one size, and how many bytes of scratch memory it needs.

        A context serves one size for good, as its captured graph must; see :meth:`give_scratch`.
        """
        profile = self.choose_profile(size)
        with self._lock:  # TensorRT promises thread-safety for what different contexts do, not for making them
            context = Context(
                self._engine.create_execution_context(
                    self._config or self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
                )
            )
        if context.content is None:
            raise self._error("makes no execution context")
        try:
            return context, self._prepare(context, profile, size, stream)
        except BaseException:
            context.free()
            raise

    def _prepare(self, context: Context, profile: int, size: Size, stream: int) -> int:
        self._require(context.content.set_optimization_profile_async(profile, stream), "does not switch the profile")
        for name in (INPUT_IMAGE, INPUT_MASK):
            shape = tensor_shape(name, size, self.io_dtype)
            self._require(context.content.set_input_shape(name, shape), f"does not take {name} of shape {shape}")
        output = tuple(context.content.get_tensor_shape(OUTPUT_IMAGE))
        expected = tensor_shape(OUTPUT_IMAGE, size, self.io_dtype)
        if output != expected:
            raise EngineError(f"{self.path} gives {OUTPUT_IMAGE} of shape {output}, expected {expected}.")
        return int(context.content.update_device_memory_size_for_shapes())

    def give_scratch(self, context: Context, address: int, num_bytes: int) -> None:
        """Let a context use scratch memory, which contexts that never run at the same time may share."""
        if hasattr(context.content, "set_device_memory"):
            context.content.set_device_memory(address, num_bytes)
        else:  # TensorRT 10.0
            context.content.device_memory = address

    def bind(self, context: Context, name: str, address: int) -> None:
        """Tell a context where a tensor lies."""
        self._require(context.content.set_tensor_address(name, address), f"does not take an address for {name}")

    def enqueue(self, context: Context, stream: int) -> None:
        """Enqueue an inference."""
        self._require(context.content.execute_async_v3(stream), "does not run")

    def why_no_graph(self, context: Context, stream: int) -> str:
        """Return why a library that captures graphs by itself will not; empty if it will, or shall not."""
        if not self._graphs or not self.captures_itself or context.content.is_stream_capturable(stream):
            return ""
        return f"{self.name} cannot capture what {self.path.name} runs at this size"

    def _require(self, succeeded: bool, what: str) -> None:
        if not succeeded:
            raise self._error(what)

    def _error(self, what: str) -> EngineError:
        reason = self._logger.last_error() or "no reason given"
        is_memory = "out of memory" in reason.lower() or "outofmemory" in reason.lower()
        return (EngineMemoryError if is_memory else EngineError)(f"{self.name} {what}: {reason}")

    def close(self) -> None:
        """Free the weights."""
        try:
            if self._kernels is not None:
                self._kernels.keep()
        finally:
            self._kernels = None
            self._config = self._engine = self._runtime = None


def _describe(size: Size) -> str:
    batch, height, width = size
    return f"{batch}x{width}x{height}"
