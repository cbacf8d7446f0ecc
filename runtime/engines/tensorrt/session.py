"""A session that runs a plan in TensorRT or TensorRT-RTX on the first NVIDIA GPU."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal, overload

from wavepaint.contract import Model
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError
from wavepaint.runtime.engines.cuda.device import Device
from wavepaint.runtime.engines.cuda.open import open_device
from wavepaint.runtime.engines.gpus import get_gpu_name
from wavepaint.runtime.engines.session import CLOSED, GPU_BATCH, RunParts, Session, Tensor
from wavepaint.runtime.engines.tensorrt.context import Graphs, StreamContext
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.plan import LoadedPlan


class TensorRtSession(Session):
    """A plan in TensorRT or TensorRT-RTX; see :class:`wavepaint.runtime.engines.session.Session`.

    Thread-safe: every run takes a free stream context (:mod:`wavepaint.runtime.engines.tensorrt.context`) or waits for
    one, so that the copies of one run overlap with the computation of another. :meth:`run_many` does the same from one
    thread. Memory depends on the sizes that run, not on the plan's largest. From the second run of a size on a stream
    context, TensorRT's work is one CUDA graph; TensorRT-RTX captures graphs itself.

    Args:
        model: The plan.
        library: The library that runs the plan.
        content: The plan's bytes; None reads the file.
        streams: Number of stream contexts, one or more.
        device: The GPU; the session closes it. None opens the first GPU.
        graphs: Whether to launch kernels as CUDA graphs; False is for comparisons.
        rebuilt_because: Why this plan is not the bundle's own.

    Attributes:
        profiles: Ranges of sizes in the plan.
        rebuilt_because: Why this plan is not the bundle's own; empty if it is.

    Raises:
        PlanRefusedError: The library refuses the plan.
        EngineError: The library, a package for CUDA, the driver or the GPU is missing, or the plan breaks the
            contract.
        EngineMemoryError: The GPU has too little memory for the weights.
    """

    memory_factor = 2.0  # of the GPU's memory; not measured, so ONNX Runtime's value

    def __init__(
        self,
        model: Model,
        library: TensorRtLibrary,
        *,
        content: bytes | None = None,
        streams: int = 2,
        device: Device | None = None,
        graphs: bool = True,
        rebuilt_because: str = "",
    ) -> None:
        super().__init__(model)
        if streams < 1:
            raise ConfigError(f"streams is {streams}: expected 1 or more (--streams).")
        if content is None:
            try:
                content = model.path.read_bytes()
            except OSError as error:
                raise EngineError(f"the plan {model.path} cannot be read: {error.strerror or error}.") from error
        self.rebuilt_because = rebuilt_because
        self._num_streams = self._num_open = streams
        self._is_closed = False
        self._changed = threading.Condition()
        self._free: list[StreamContext] = []
        with contextlib.ExitStack() as stack:
            self._device = stack.enter_context(device or open_device())
            self._plan = LoadedPlan(model, content, library, graphs=graphs)
            stack.callback(self._plan.close)
            self.profiles = self._plan.profiles
            self.sizes = tuple(profile.sizes for profile in self.profiles)
            if not any(sizes.pad(1, 1, self.size_multiple) for sizes in self.sizes):
                raise EngineError(
                    f"{model.path} takes no size of which both sides are multiples of {self.size_multiple}, as this "
                    "model needs. Export it again."
                )
            self.max_batch = min(GPU_BATCH, max(profile.max[0] for profile in self.profiles))
            self._graphs = Graphs(graphs and self._device.supports_graphs and not library.captures_graphs)
            for _ in range(streams):
                self._free.append(StreamContext(self._plan, self._device, self._graphs))
                stack.callback(self._free[-1].close)
            self.device = get_gpu_name()
            self.engine = f"{self._plan.name} {self.device}"
            stack.pop_all()

    @property
    def graph_problem(self) -> str:
        """Why the capture of a CUDA graph failed; empty if none did."""
        return self._graphs.problem

    def explain_refusal(self, batch: int, height: int, width: int) -> str:
        return self._plan.explain_refusal((batch, height, width))

    def list_sizes_to_check(self) -> list[tuple[int, int, int]]:
        return [size for profile in self.profiles for size in dict.fromkeys((profile.min, profile.opt))]

    def _is_open(self) -> bool:
        return not self._is_closed

    def _infer(self, *tensors: Tensor) -> Tensor:
        image, mask = tensors
        context = self._acquire()
        try:
            self._submit(context, image, mask)
            return context.collect()
        finally:
            self._release(context)

    def time_parts(self, *tensors: Tensor, num_runs: int = 1, repeats: int = 1) -> list[RunParts]:
        with self._checked(*tensors):
            image, mask = tensors
            context = self._acquire()
            try:
                return context.time_parts(image, mask, num_runs, repeats)
            finally:
                self._release(context)

    def run_many(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Fill the holes of many batches. Each is submitted before this thread waits for the previous result.

        See :meth:`wavepaint.runtime.engines.session.Session.run_many`. Between two results a stream context is always
        free, so the caller may use :meth:`run` or another :meth:`run_many`.
        """
        running: deque[StreamContext] = deque()
        source = iter(batches)
        try:
            while True:
                try:
                    image, mask = next(source)
                except StopIteration:
                    break
                except Exception:
                    yield from self._collect_all(running)
                    raise
                # Wait for a stream context only while this thread has none: two threads that have some and wait for
                # more would deadlock.
                while (context := self._acquire(wait=not running)) is None:
                    yield self._collect(running)
                try:
                    with self._checked(image, mask):
                        self._submit(context, image, mask)
                except BaseException as error:
                    self._release(context)
                    if isinstance(error, Exception):  # raised after the results of the earlier batches
                        yield from self._collect_all(running)
                    raise
                running.append(context)
                if len(running) == self._num_streams:
                    yield self._collect(running)
            yield from self._collect_all(running)
        finally:
            while running:  # the caller stopped reading
                with contextlib.suppress(EngineError):
                    self._collect(running)

    def _collect_all(self, running: deque[StreamContext]) -> Iterator[Tensor]:
        while running:
            yield self._collect(running)

    def _collect(self, running: deque[StreamContext]) -> Tensor:
        context = running.popleft()
        try:
            return context.collect()
        finally:
            self._release(context)

    def _submit(self, context: StreamContext, image: Tensor, mask: Tensor) -> None:
        try:
            context.submit(image, mask)
            return
        except EngineMemoryError:
            self._trim(context)
        try:
            context.submit(image, mask)
        except EngineMemoryError as error:
            free, total = (size >> 20 for size in self._device.memory())
            raise EngineMemoryError(
                f"{self.engine} has too little memory for a batch of shape {image.shape} ({free} of {total} MiB are "
                f"free). Smaller images or batches may fit. {error}"
            ) from error

    def _trim(self, context: StreamContext) -> None:
        """Free the cached sizes of a stream context and of the idle ones."""
        with self._changed:
            for one in (context, *self._free):
                one.trim()

    @overload
    def _acquire(self, *, wait: Literal[True] = True) -> StreamContext: ...

    @overload
    def _acquire(self, *, wait: bool) -> StreamContext | None: ...

    def _acquire(self, *, wait: bool = True) -> StreamContext | None:
        """Return the free stream context that was used last, because its cached sizes are the most recent.

        Returns:
            None if none is free and ``wait`` is False.

        Raises:
            EngineError: The session was closed.
        """
        with self._changed:
            while not self._free and not self._is_closed:
                if not wait:
                    return None
                self._changed.wait()
            if self._is_closed:
                raise EngineError(CLOSED)
            return self._free.pop()

    def _release(self, context: StreamContext) -> None:
        with self._changed:
            if not self._is_closed:
                self._free.append(context)
                self._changed.notify()
                return
        self._dispose([context])

    def close(self) -> None:
        """Free everything on the GPU. A current run ends first, in its own thread."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            idle, self._free = self._free, []
            self._changed.notify_all()
        self._dispose(idle)

    def _dispose(self, contexts: list[StreamContext]) -> None:
        for context in contexts:
            context.close()
        with self._changed:
            self._num_open -= len(contexts)
            is_last = self._num_open == 0
        if is_last:
            try:
                self._plan.close()
            finally:
                self._device.close()
