"""A lane: one stream on which a plan runs one batch at a time, with the memory that it needs.

While one lane computes, another copies. What a size needs (a context, buffers, a CUDA graph) is made when the size
first comes and kept for the next time.
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
from wavepaint.runtime.engines.tensorrt.plan import Context, LoadedPlan, get_size, tensor_shape
from wavepaint.runtime.sizes import Size

MAX_SIZES = 8
"""How many sizes a lane keeps ready; the one not used for longest goes first."""

_RUNS_TO_CAPTURE = 2
"""A size's first run makes it ready, its second captures the CUDA graph."""


@dataclass
class _Ready:
    """What one size needs."""

    context: Context = field(default_factory=Context)
    addresses: dict[str, int] = field(default_factory=dict)
    pinned: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The pinned memory as the contract's tensors."""
    graph: int | None = None
    has_run: bool = False


class Graphs:
    """Whether to capture CUDA graphs, for all lanes of a session.

    Attributes:
        problem: Why none are captured, or not any more; empty if none failed.
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.problem = ""

    def give_up(self, problem: str) -> None:
        """Capture no more: what failed once would fail for every size and cost time at each."""
        self.wanted, self.problem = False, problem


class StreamContext:
    """See the module's text. Not thread-safe: whoever holds a lane has it alone.

    Args:
        plan: What runs.
        device: Where.
        graphs: Shared by the lanes of a session.
    """

    def __init__(self, plan: LoadedPlan, device: Device, graphs: Graphs) -> None:
        self._plan, self._device, self._graphs = plan, device, graphs
        self._ready: OrderedDict[Size, _Ready] = OrderedDict()
        self._scratch: tuple[int, int] | None = None  # address and bytes; all contexts of the lane share it
        self._running: Size | None = None
        self._stream = device.create_stream()

    def submit(self, image: Tensor, mask: Tensor) -> None:
        """Enqueue a checked batch; :meth:`collect` waits for it.

        Raises:
            EngineError: The plan holds no such size, or the engine failed.
            EngineMemoryError: The GPU's memory does not suffice; the lane stays usable.
        """
        size = get_size(image.shape, self._plan.io_dtype)
        ready = self._prepare(size)
        try:
            for name, tensor in ((INPUT_IMAGE, image), (INPUT_MASK, mask)):
                np.copyto(ready.tensors[name], tensor)
            self._copy_in(ready)
            self._infer(ready)
            self._copy_out(ready)
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
        return self._ready[size].tensors[OUTPUT_IMAGE].copy()

    def time_parts(self, image: Tensor, mask: Tensor, num_runs: int, repeats: int) -> list[RunParts]:
        """Return how long the GPU takes for a checked batch; see :meth:`Session.time_parts`."""
        for _ in range(_RUNS_TO_CAPTURE):
            self.submit(image, mask)
            self.collect()
        ready = self._ready[get_size(image.shape, self._plan.io_dtype)]

        def compute() -> None:
            for _ in range(repeats):
                self._infer(ready)

        def time_ms(step: Callable[[], None]) -> float:
            return self._device.time_ms(self._stream, step)

        parts = []
        for _ in range(num_runs):
            copied_in, computed = time_ms(lambda: self._copy_in(ready)), time_ms(compute)
            parts.append(RunParts(copied_in, computed / repeats, time_ms(lambda: self._copy_out(ready))))
        return parts

    def _copy_in(self, ready: _Ready) -> None:
        for name in (INPUT_IMAGE, INPUT_MASK):
            self._device.copy_to_device(ready.addresses[name], ready.pinned[name], self._stream)

    def _copy_out(self, ready: _Ready) -> None:
        self._device.copy_to_host(ready.pinned[OUTPUT_IMAGE], ready.addresses[OUTPUT_IMAGE], self._stream)

    def _infer(self, ready: _Ready) -> None:
        # TensorRT does work for a new shape in its first run that must not be captured.
        if ready.graph is None and ready.has_run and self._graphs.wanted:
            try:
                ready.graph = self._device.capture(
                    self._stream, lambda: self._plan.enqueue(ready.context, self._stream)
                )
            except EngineError as error:
                self._graphs.give_up(str(error))
        if ready.graph is not None:
            self._device.launch(ready.graph, self._stream)
        else:
            self._plan.enqueue(ready.context, self._stream)
            ready.has_run = True

    def _prepare(self, size: Size) -> _Ready:
        if size in self._ready:
            self._ready.move_to_end(size)
            return self._ready[size]
        while len(self._ready) >= MAX_SIZES:
            self._release(self._ready.popitem(last=False)[1])
        self._ready[size] = self._make_ready(size)
        return self._ready[size]

    def _make_ready(self, size: Size) -> _Ready:
        ready = _Ready()
        try:
            ready.context, num_scratch_bytes = self._plan.create_context(size, self._stream)
            self._plan.give_scratch(ready.context, *self._take_scratch(num_scratch_bytes))
            dtype = np.dtype(self._plan.io_dtype)
            for name in (INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE):
                shape = tensor_shape(name, size, self._plan.io_dtype)
                num_bytes = prod(shape) * dtype.itemsize
                ready.addresses[name] = self._device.allocate(num_bytes)
                ready.pinned[name] = self._device.allocate_pinned(num_bytes)
                ready.tensors[name] = ready.pinned[name].view(dtype).reshape(shape)
                self._plan.bind(ready.context, name, ready.addresses[name])
            self._graphs.problem = self._graphs.problem or self._plan.why_no_graph(ready.context, self._stream)
        except BaseException:
            self._release(ready)
            if not self._ready:
                self._free_scratch()
            raise
        return ready

    def _take_scratch(self, num_bytes: int) -> tuple[int, int]:
        if self._scratch is None or self._scratch[1] < num_bytes:
            self.trim()  # the other sizes' contexts and graphs point to the old one
            if num_bytes:
                self._scratch = (self._device.allocate(num_bytes), num_bytes)
        return self._scratch or (0, 0)

    def _abandon(self, size: Size) -> None:
        """Forget a size whose run failed half-way: what is enqueued ends first, what it left is not used again."""
        _try(self._device.synchronize, self._stream)
        self._release(self._ready.pop(size))

    def _release(self, ready: _Ready) -> None:
        if ready.graph is not None:
            _try(self._device.free_graph, ready.graph)
        ready.context.free()
        ready.tensors.clear()
        for address in ready.addresses.values():
            _try(self._device.free, address)
        for memory in ready.pinned.values():
            _try(self._device.free_pinned, memory)

    def trim(self) -> None:
        """Free what is kept for sizes that may come again. Nothing may be running."""
        while self._ready:
            self._release(self._ready.popitem()[1])
        self._free_scratch()

    def _free_scratch(self) -> None:
        if self._scratch is not None:
            _try(self._device.free, self._scratch[0])
            self._scratch = None

    def close(self) -> None:
        """Free everything; what is enqueued ends first."""
        _try(self._device.synchronize, self._stream)
        self.trim()
        _try(self._device.destroy_stream, self._stream)


def _try(free: Callable[..., None], *arguments: Any) -> None:
    """Free what can be freed: after some failures of a GPU nothing can, and those failures were told."""
    with contextlib.suppress(EngineError):
        free(*arguments)
