"""A stream context: one CUDA stream on which a plan runs one batch at a time, and the memory this needs.

While one stream context computes, another copies. An execution context, buffers and a CUDA graph are created for each
size when it first runs, and cached for the next time.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.cuda.device import Device
from wavepaint.runtime.engines.session import RunParts, Tensor
from wavepaint.runtime.engines.tensorrt.plan import ExecutionContext, LoadedPlan, get_size, tensor_shape
from wavepaint.runtime.sizes import Size

MAX_SIZES = 8
"""Number of sizes that a stream context caches; the least recently used is dropped first."""

_RUNS_TO_CAPTURE = 2
"""A size's first run prepares it, and the second captures the CUDA graph."""


@dataclass
class _Prepared:
    """Everything that one size needs."""

    context: ExecutionContext = field(default_factory=ExecutionContext)
    addresses: dict[str, int] = field(default_factory=dict)
    pinned: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The pinned memory as the contract's tensors."""
    graph: int | None = None
    has_run: bool = False


@dataclass
class Graphs:
    """Whether to capture CUDA graphs, for all stream contexts of a session.

    Attributes:
        wanted: Whether to capture. After a failure it is False, because every size would fail and cost time.
        problem: Why a capture failed; empty if none did.
    """

    wanted: bool
    problem: str = ""


class StreamContext:
    """A stream and the cached sizes; see the module's docstring. Not thread-safe.

    Args:
        plan: The plan that runs.
        device: The GPU.
        graphs: Shared by the stream contexts of a session.
    """

    def __init__(self, plan: LoadedPlan, device: Device, graphs: Graphs) -> None:
        self._plan, self._device, self._graphs = plan, device, graphs
        self._sizes: OrderedDict[Size, _Prepared] = OrderedDict()
        self._scratch: tuple[int, int] | None = None  # address and bytes, shared by all sizes
        self._running: Size | None = None
        self._stream = device.create_stream()

    def submit(self, image: Tensor, mask: Tensor) -> None:
        """Enqueue a checked batch; :meth:`collect` waits for it.

        Raises:
            EngineError: No profile of the plan contains the size, or the engine failed.
            EngineMemoryError: The GPU has too little memory; this object stays usable.
        """
        size = get_size(image.shape, self._plan.io_dtype)
        prepared = self._prepare(size)
        try:
            for name, tensor in ((INPUT_IMAGE, image), (INPUT_MASK, mask)):
                np.copyto(prepared.tensors[name], tensor)
            self._copy_in(prepared)
            self._infer(prepared)
            self._copy_out(prepared)
        except BaseException:
            self._abandon(size)
            raise
        self._running = size

    def collect(self) -> Tensor:
        """Wait for the submitted batch and return its result."""
        size, self._running = self._running, None
        if size is None:
            raise EngineError("nothing was submitted.")
        try:
            self._device.synchronize(self._stream)
        except BaseException:
            self._abandon(size)
            raise
        return self._sizes[size].tensors[OUTPUT_IMAGE].copy()

    def time_parts(self, image: Tensor, mask: Tensor, num_runs: int, repeats: int) -> list[RunParts]:
        """Measure a checked batch; see :meth:`wavepaint.runtime.engines.session.Session.time_parts`."""
        for _ in range(_RUNS_TO_CAPTURE):
            self.submit(image, mask)
            self.collect()
        prepared = self._sizes[get_size(image.shape, self._plan.io_dtype)]

        def compute() -> None:
            for _ in range(repeats):
                self._infer(prepared)

        def time_ms(step: Callable[[], None]) -> float:
            return self._device.time_ms(self._stream, step)

        parts = []
        for _ in range(num_runs):
            copy_in_ms, compute_ms = time_ms(lambda: self._copy_in(prepared)), time_ms(compute)
            parts.append(RunParts(copy_in_ms, compute_ms / repeats, time_ms(lambda: self._copy_out(prepared))))
        return parts

    def _copy_in(self, prepared: _Prepared) -> None:
        for name in (INPUT_IMAGE, INPUT_MASK):
            self._device.copy_to_device(prepared.addresses[name], prepared.pinned[name], self._stream)

    def _copy_out(self, prepared: _Prepared) -> None:
        self._device.copy_to_host(prepared.pinned[OUTPUT_IMAGE], prepared.addresses[OUTPUT_IMAGE], self._stream)

    def _infer(self, prepared: _Prepared) -> None:
        # In the first run of a size TensorRT does work that must not be captured.
        if prepared.graph is None and prepared.has_run and self._graphs.wanted:
            try:
                prepared.graph = self._device.capture(
                    self._stream, lambda: self._plan.enqueue(prepared.context, self._stream)
                )
            except EngineError as error:
                self._graphs.wanted, self._graphs.problem = False, str(error)
        if prepared.graph is not None:
            self._device.launch(prepared.graph, self._stream)
        else:
            self._plan.enqueue(prepared.context, self._stream)
            prepared.has_run = True

    def _prepare(self, size: Size) -> _Prepared:
        if size in self._sizes:
            self._sizes.move_to_end(size)
            return self._sizes[size]
        while len(self._sizes) >= MAX_SIZES:
            self._release(self._sizes.popitem(last=False)[1])
        self._sizes[size] = self._create(size)
        return self._sizes[size]

    def _create(self, size: Size) -> _Prepared:
        prepared = _Prepared()
        try:
            prepared.context, num_scratch_bytes = self._plan.create_context(size, self._stream)
            self._plan.set_scratch(prepared.context, *self._get_scratch(num_scratch_bytes))
            dtype = np.dtype(self._plan.io_dtype)
            for name in (INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE):
                shape = tensor_shape(name, size, self._plan.io_dtype)
                num_bytes = prod(shape) * dtype.itemsize
                prepared.addresses[name] = self._device.allocate(num_bytes)
                prepared.pinned[name] = self._device.allocate_pinned(num_bytes)
                prepared.tensors[name] = prepared.pinned[name].view(dtype).reshape(shape)
                self._plan.bind(prepared.context, name, prepared.addresses[name])
            self._graphs.problem = self._graphs.problem or self._plan.find_capture_problem(
                prepared.context, self._stream
            )
        except BaseException:
            self._release(prepared)
            if not self._sizes:
                self._free_scratch()
            raise
        return prepared

    def _get_scratch(self, num_bytes: int) -> tuple[int, int]:
        if self._scratch is None or self._scratch[1] < num_bytes:
            self.trim()  # contexts and graphs of the other sizes point to the old scratch memory
            if num_bytes:
                self._scratch = (self._device.allocate(num_bytes), num_bytes)
        return self._scratch or (0, 0)

    def _abandon(self, size: Size) -> None:
        """Wait for everything that was enqueued, then drop a size whose run failed."""
        _try(self._device.synchronize, self._stream)
        self._release(self._sizes.pop(size))

    def _release(self, prepared: _Prepared) -> None:
        if prepared.graph is not None:
            _try(self._device.free_graph, prepared.graph)
        prepared.context.free()
        prepared.tensors.clear()
        for address in prepared.addresses.values():
            _try(self._device.free, address)
        for memory in prepared.pinned.values():
            _try(self._device.free_pinned, memory)

    def trim(self) -> None:
        """Free the cached sizes. Nothing may be running."""
        while self._sizes:
            self._release(self._sizes.popitem()[1])
        self._free_scratch()

    def _free_scratch(self) -> None:
        if self._scratch is not None:
            _try(self._device.free, self._scratch[0])
            self._scratch = None

    def close(self) -> None:
        """Wait for everything that was enqueued, then free everything."""
        _try(self._device.synchronize, self._stream)
        self.trim()
        _try(self._device.destroy_stream, self._stream)


def _try(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function and ignore its EngineError: after some GPU failures, waiting and freeing fail as well."""
    with contextlib.suppress(EngineError):
        function(*arguments)
