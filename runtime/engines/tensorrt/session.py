"""TensorRT and TensorRT-RTX on the first NVIDIA GPU: a plan behind the one interface."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, overload

from wavepaint.contract import IoDtype
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError
from wavepaint.runtime.engines.cuda.device import Device, open_device
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.session import GPU_BATCH, RunParts, Session, Tensor
from wavepaint.runtime.engines.tensorrt.build import Library
from wavepaint.runtime.engines.tensorrt.context import Graphs, StreamContext
from wavepaint.runtime.engines.tensorrt.plan import LoadedPlan
from wavepaint.runtime.sizes import SizeRange


class TensorRtSession(Session):
    """A plan in TensorRT or TensorRT-RTX; see :class:`wavepaint.runtime.engines.session.Session`.

    Thread-safe: every run takes a free stream context (:mod:`wavepaint.runtime.engines.tensorrt.context`) or waits for
    one, so the copies of one run overlap with the computing of another. :meth:`run_many` does the same from one thread.
    Memory follows the sizes that come, not the largest of the plan. From the second run of a size on a lane TensorRT's
    work is one CUDA graph; TensorRT-RTX captures graphs by itself.

    Args:
        path: The plan's file.
        content: The plan, if it was read already.
        library: Whose plan it is.
        io_dtype: Kind of its inputs and outputs.
        size_multiple: Height and width must be multiples of this.
        precision: Arithmetic inside the plan.
        streams: Lanes, one or more.
        device: What to run on; it is closed with the session. None opens the first GPU.
        graphs: Whether to launch kernels as CUDA graphs; without, it is only to be compared.
        rebuilt_because: Why this plan is not the bundle's own.

    Attributes:
        profiles: Ranges of sizes that the plan takes.
        rebuilt_because: Why this plan is not the bundle's own; empty if it is.

    Raises:
        PlanRefusedError: The library does not take the plan.
        EngineError: The library, a package for CUDA, the driver or the GPU is missing, or the plan breaks the
            contract.
        EngineMemoryError: The GPU cannot hold the weights.
    """

    memory_factor = 2.0  # of the GPU's memory; as ONNX Runtime's, since it has not been measured

    def __init__(
        self,
        path: Path,
        *,
        content: bytes | None = None,
        library: Library = "tensorrt",
        io_dtype: IoDtype = "float32",
        size_multiple: int = 1,
        precision: str = "float32",
        streams: int = 2,
        device: Device | None = None,
        graphs: bool = True,
        rebuilt_because: str = "",
    ) -> None:
        super().__init__(path, io_dtype=io_dtype, size_multiple=size_multiple)
        if streams < 1:
            raise ConfigError(f"streams is {streams}: expected 1 or more (--streams).")
        if content is None:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise EngineError(f"the plan {path} cannot be read: {error.strerror or error}.") from error
        self._num_lanes = self._num_open = streams
        self._is_closed = False
        self._lanes_changed = threading.Condition()
        self.rebuilt_because, self.precision = rebuilt_because, precision
        self._free: list[StreamContext] = []
        with contextlib.ExitStack() as made:
            self._device = made.enter_context(device or open_device())
            self._plan = LoadedPlan(path, content, library=library, io_dtype=io_dtype, graphs=graphs)
            made.callback(self._plan.close)
            self.profiles = self._plan.profiles
            self.sizes = tuple(SizeRange(profile.min, profile.max) for profile in self.profiles)
            if not any(sizes.pad(1, 1, self.size_multiple) for sizes in self.sizes):
                raise EngineError(
                    f"{path} takes no size of which both sides are multiples of {self.size_multiple}, as this model "
                    "needs. Export it again."
                )
            self.max_batch = min(GPU_BATCH, max(profile.max[0] for profile in self.profiles))
            self._graphs = Graphs(graphs and self._device.supports_graphs and not self._plan.captures_itself)
            for _ in range(streams):
                self._free.append(StreamContext(self._plan, self._device, self._graphs))
                made.callback(self._free[-1].close)
            self.device = next((gpu.name for gpu in find_gpus()), "GPU")
            self.engine = f"{self._plan.name} {self.device}"
            made.pop_all()

    @property
    def graph_problem(self) -> str:
        """Why CUDA graphs are not captured any more; empty if no capture failed."""
        return self._graphs.problem

    def refusal(self, batch: int, height: int, width: int) -> str:
        return self._plan.refusal((batch, height, width))

    def sizes_to_check(self) -> list[tuple[int, int, int]]:
        return [size for profile in self.profiles for size in dict.fromkeys((profile.min, profile.opt))]

    def _is_open(self) -> bool:
        return not self._is_closed

    def _infer(self, image: Tensor, mask: Tensor) -> Tensor:
        lane = self._take()
        try:
            self._submit(lane, image, mask)
            return lane.collect()
        finally:
            self._give(lane)

    def time_parts(self, image: Tensor, mask: Tensor, num_runs: int = 1, *, repeats: int = 1) -> list[RunParts]:
        with self._checked(image, mask):
            lane = self._take()
            try:
                return lane.time_parts(image, mask, num_runs, repeats)
            finally:
                self._give(lane)

    def run_many(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Fill the holes of many batches, each submitted before the one before it is waited for.

        See :meth:`wavepaint.runtime.engines.session.Session.run_many`. Between two results a stream context is always
        free, so the caller may use :meth:`run` or another :meth:`run_many` meanwhile.
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
                # A lane is waited for only while this thread holds none: two threads that wait for each other's lanes
                # would never end.
                while (lane := self._take(wait=not running)) is None:
                    yield self._collect(running)
                try:
                    with self._checked(image, mask):
                        self._submit(lane, image, mask)
                except BaseException as error:
                    self._give(lane)
                    if isinstance(error, Exception):  # it is told after the results of the batches before it
                        yield from self._collect_all(running)
                    raise
                running.append(lane)
                if len(running) == self._num_lanes:
                    yield self._collect(running)
            yield from self._collect_all(running)
        finally:
            while running:  # the caller wants no more
                with contextlib.suppress(EngineError):
                    self._collect(running)

    def _collect_all(self, running: deque[StreamContext]) -> Iterator[Tensor]:
        while running:
            yield self._collect(running)

    def _collect(self, running: deque[StreamContext]) -> Tensor:
        lane = running.popleft()
        try:
            return lane.collect()
        finally:
            self._give(lane)

    def _submit(self, lane: StreamContext, image: Tensor, mask: Tensor) -> None:
        try:
            lane.submit(image, mask)
            return
        except EngineMemoryError:
            self._trim(lane)
        try:
            lane.submit(image, mask)
        except EngineMemoryError as error:
            free, total = (size >> 20 for size in self._device.memory())
            raise EngineMemoryError(
                f"{self.engine} has too little memory for a batch of shape {image.shape} ({free} of {total} MiB are "
                f"free). Smaller images or batches may fit. {error}"
            ) from error

    def _trim(self, lane: StreamContext) -> None:
        """Free what this lane and the idle ones keep for other sizes."""
        with self._lanes_changed:
            for one in (lane, *self._free):
                one.trim()

    @overload
    def _take(self, *, wait: Literal[True] = True) -> StreamContext: ...

    @overload
    def _take(self, *, wait: bool) -> StreamContext | None: ...

    def _take(self, *, wait: bool = True) -> StreamContext | None:
        """Return a free lane, the one used last, whose sizes are ready; None if there is none and none is waited for.

        Raises:
            EngineError: The session was closed.
        """
        with self._lanes_changed:
            while not self._free and not self._is_closed:
                if not wait:
                    return None
                self._lanes_changed.wait()
            if self._is_closed:
                raise EngineError("this session is closed. Open another one.")
            return self._free.pop()

    def _give(self, lane: StreamContext) -> None:
        with self._lanes_changed:
            if not self._is_closed:
                self._free.append(lane)
                self._lanes_changed.notify()
                return
        self._dispose([lane])

    def close(self) -> None:
        """Free everything on the GPU. A run that is under way ends first, in its own thread."""
        with self._lanes_changed:
            if self._is_closed:
                return
            self._is_closed = True
            idle, self._free = self._free, []
            self._lanes_changed.notify_all()
        self._dispose(idle)

    def _dispose(self, lanes: list[StreamContext]) -> None:
        for lane in lanes:
            lane.close()
        with self._lanes_changed:
            self._num_open -= len(lanes)
            is_last = self._num_open == 0
        if is_last:
            try:
                self._plan.close()
            finally:
                self._device.close()
