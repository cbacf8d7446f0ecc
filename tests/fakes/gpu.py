"""A GPU in Python that is stricter than a real one: a misuse that fails now and then on a real GPU always fails here.

Nothing runs when it is enqueued. A stream is a queue that runs when something waits for it, so pinned memory is read
and written late. New memory is poisoned. It is an error to read memory before it is written, to use freed memory, to
free memory that is in use, to share memory between streams without waiting, and to leave anything allocated on a closed
device.
"""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.engines.cuda.device import Device

POISON = 0xCD
Bytes = NDArray[np.uint8]


class MisuseError(BaseException):
    """A misuse of the GPU. It does not derive from ``Exception``, so the code under test cannot catch it."""


@dataclass(frozen=True)
class Operation:
    """An operation on a stream: its name, the device addresses it reads and writes, and the function that runs it."""

    name: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    act: Callable[[], None]


@dataclass
class Block:
    """Device memory."""

    content: Bytes
    written: bool = False


@dataclass
class Stream:
    """Enqueued operations, or during a capture in one thread, recorded ones."""

    waiting: list[Operation] = field(default_factory=list)
    recorded: list[Operation] | None = None
    thread: int = 0


class SimulatedGpu:
    """One GPU, whose devices share its memory.

    Attributes:
        log: Every call in order: its name, then its arguments.
        fails: Errors by the names of the calls that raise them.
    """

    def __init__(self, num_bytes: int = 1 << 30) -> None:
        self.num_bytes = num_bytes
        self.lock = threading.RLock()
        self.numbers = itertools.count(0x1000)
        self.blocks: dict[int, Block] = {}
        self.pinned: dict[int, Bytes] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Operation]] = {}
        self.log: list[tuple[object, ...]] = []
        self.fails: dict[str, EngineError] = {}

    def count(self, name: str) -> int:
        """Return the number of calls of a name."""
        return sum(entry[0] == name for entry in self.log)

    def used(self) -> int:
        """Return the used device memory in bytes."""
        return sum(block.content.size for block in self.blocks.values())

    def note(self, name: str, *about: object) -> None:
        self.log.append((name, *about))
        if name in self.fails:
            raise self.fails[name]

    def block(self, address: int) -> Block:
        if address not in self.blocks:
            raise MisuseError(f"device memory at {address:#x} is not allocated, or was freed")
        return self.blocks[address]

    def read(self, address: int) -> Bytes:
        block = self.block(address)
        if not block.written:
            raise MisuseError(f"device memory at {address:#x} is read before anything wrote it")
        return block.content

    def write(self, address: int, content: Bytes) -> None:
        block = self.block(address)
        if content.size > block.content.size:
            raise MisuseError(f"{content.size} bytes are written to {block.content.size} at {address:#x}")
        block.content[: content.size] = content
        block.written = True

    def enqueue(self, handle: int, operation: Operation) -> None:
        stream = self.streams[handle]
        if stream.recorded is not None:
            stream.recorded.append(operation)
        else:
            stream.waiting.append(operation)

    def run(self, handle: int) -> None:
        stream = self.streams[handle]
        while stream.waiting:
            operation = stream.waiting.pop(0)
            used = {*operation.reads, *operation.writes}
            for other in self.streams.values():
                for waiting in other.waiting if other is not stream else ():
                    if used & {*waiting.writes} or {*operation.writes} & {*waiting.reads}:
                        raise MisuseError(f"{operation.name} and {waiting.name} of two streams use the same memory")
            operation.act()

    def require_unused(self, address: int) -> None:
        for stream in self.streams.values():
            for operation in stream.waiting:
                if address in (*operation.reads, *operation.writes):
                    raise MisuseError(f"memory at {address:#x} is freed while {operation.name} waits to use it")

    def is_capturing(self) -> bool:
        """Return whether the calling thread is capturing."""
        return any(s.recorded is not None and s.thread == threading.get_ident() for s in self.streams.values())


class SimulatedDevice(Device):
    """A device on a simulated GPU. Everything it allocated must be freed before it is closed."""

    package = "simulation"

    def __init__(self, gpu: SimulatedGpu, *, supports_graphs: bool = True) -> None:
        self.gpu, self.supports_graphs, self.is_closed = gpu, supports_graphs, False
        self.made: set[int] = set()

    def _note(self, name: str, *about: object) -> None:
        if self.is_closed:
            raise MisuseError(f"{name} after the device was closed")
        if self.gpu.is_capturing() and name not in ("execute", "end_capture"):
            raise EngineError(f"{name}: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        self.gpu.note(name, *about)

    def _new(self) -> int:
        handle = next(self.gpu.numbers) << 12
        self.made.add(handle)
        return handle

    def allocate(self, num_bytes: int) -> int:
        with self.gpu.lock:
            self._note("allocate", num_bytes)
            if num_bytes < 1:
                raise MisuseError("an allocation of zero bytes")
            if self.gpu.used() + num_bytes > self.gpu.num_bytes:
                raise EngineMemoryError("cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY, out of memory")
            address = self._new()
            self.gpu.blocks[address] = Block(np.full(num_bytes, POISON, np.uint8))
            return address

    def free(self, address: int) -> None:
        with self.gpu.lock:
            self._note("free", address)
            self.gpu.block(address)
            self.gpu.require_unused(address)
            del self.gpu.blocks[address]
            self.made.remove(address)

    def allocate_pinned(self, num_bytes: int) -> Bytes:
        with self.gpu.lock:
            self._note("allocate_pinned", num_bytes)
            memory = np.full(num_bytes, POISON, np.uint8)
            self.gpu.pinned[memory.ctypes.data] = memory
            self.made.add(memory.ctypes.data)
            return memory

    def free_pinned(self, memory: Bytes) -> None:
        with self.gpu.lock:
            self._note("free_pinned", memory.ctypes.data)
            del self.gpu.pinned[memory.ctypes.data]
            self.made.remove(memory.ctypes.data)
            memory[:] = POISON

    def create_stream(self) -> int:
        with self.gpu.lock:
            self._note("create_stream")
            handle = self._new()
            self.gpu.streams[handle] = Stream()
            return handle

    def destroy_stream(self, stream: int) -> None:
        with self.gpu.lock:
            self._note("destroy_stream", stream)
            if self.gpu.streams.pop(stream).waiting:
                raise MisuseError("a stream is destroyed on which something waits")
            self.made.remove(stream)

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        with self.gpu.lock:
            self._note("copy_to_device", stream)
            self._require_pinned(source)
            act = lambda: self.gpu.write(address, source)  # noqa: E731
            self.gpu.enqueue(stream, Operation("copy_to_device", (), (address,), act))

    def copy_to_host(self, target: Bytes, address: int, stream: int) -> None:
        def act() -> None:
            target[:] = self.gpu.read(address)[: target.size]

        with self.gpu.lock:
            self._note("copy_to_host", stream)
            self._require_pinned(target)
            self.gpu.enqueue(stream, Operation("copy_to_host", (address,), (), act))

    def _require_pinned(self, memory: Bytes) -> None:
        if memory.ctypes.data not in self.gpu.pinned:
            raise MisuseError("an asynchronous copy of memory that is not pinned")

    def synchronize(self, stream: int) -> None:
        with self.gpu.lock:
            try:
                self._note("synchronize", stream)
                self.gpu.run(stream)
            except Exception:  # operations after a failure never run
                self.gpu.streams[stream].waiting.clear()
                raise

    def time_ms(self, stream: int, enqueue: Callable[[], None]) -> float:
        with self.gpu.lock:
            self._note("time", stream)
            self.gpu.run(stream)
        started = time.perf_counter()
        enqueue()
        with self.gpu.lock:
            self.gpu.run(stream)
        return (time.perf_counter() - started) * 1e3

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        queue = self.gpu.streams[stream]
        with self.gpu.lock:
            self._note("capture", stream)
            queue.recorded, queue.thread = [], threading.get_ident()
        try:
            enqueue()
        finally:
            with self.gpu.lock:
                recorded, queue.recorded = queue.recorded, None
        with self.gpu.lock:
            graph = self._new()
            self.gpu.graphs[graph] = recorded
            return graph

    def launch(self, graph: int, stream: int) -> None:
        with self.gpu.lock:
            self._note("launch", graph)
            for operation in self.gpu.graphs[graph]:
                self.gpu.enqueue(stream, operation)

    def free_graph(self, graph: int) -> None:
        with self.gpu.lock:
            self._note("free_graph", graph)
            del self.gpu.graphs[graph]
            self.made.remove(graph)

    def memory(self) -> tuple[int, int]:
        return self.gpu.num_bytes - self.gpu.used(), self.gpu.num_bytes

    def close(self) -> None:
        if self.made:
            raise MisuseError(f"{len(self.made)} things were not freed before the device was closed")
        self.is_closed = True
