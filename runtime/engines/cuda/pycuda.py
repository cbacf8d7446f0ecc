"""CUDA through ``pycuda``.

It has no stream capture, so TensorRT runs without CUDA graphs (TensorRT-RTX captures its own).

The extension of pycuda 2026.1 was built against CUDA 12.9's headers, and every method ran through it against a
simulated driver. It has not run on a GPU yet.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.optional import make_pip_command, require
from wavepaint.runtime.engines.cuda.cuda_bindings import REQUIREMENT
from wavepaint.runtime.engines.cuda.device import Device

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, which pycuda does not name."""


class PycudaDevice(Device):
    """See :class:`wavepaint.runtime.engines.cuda.device.Device`.

    It retains the primary context, as TensorRT's CUDA runtime does; pycuda's ``autoinit`` would create another one.

    Raises:
        EngineError: pycuda is not installed, or there is no driver or GPU.
    """

    supports_graphs = False

    def __init__(self) -> None:
        self._cuda: Any = require("pycuda.driver", extra="pycuda")
        self.package = f"pycuda {importlib.metadata.version('pycuda')}"
        # pycuda's objects free themselves when they are deleted, so they are stored here.
        self._memory: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._context: Any = None
        try:
            self._cuda.init()
            self._context = self._cuda.Device(0).retain_primary_context()
        except self._cuda.Error as error:
            raise EngineError(f"{self.package} finds no NVIDIA driver or GPU: {error}") from error

    @contextmanager
    def _current(self) -> Iterator[Any]:
        """Make the context current in the calling thread for one call, because several threads use a session."""
        if self._context is None:
            raise EngineError("this CUDA device is closed. Open another one.")
        try:
            self._context.push()
            try:
                yield self._cuda
            finally:
                self._cuda.Context.pop()
        except self._cuda.MemoryError as error:
            raise EngineMemoryError(str(error)) from error
        except self._cuda.Error as error:
            raise EngineError(str(error)) from error

    def allocate(self, num_bytes: int) -> int:
        with self._current() as cuda:
            memory = cuda.mem_alloc(num_bytes)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        with self._current():
            self._memory.pop(address).free()

    def allocate_pinned(self, num_bytes: int) -> NDArray[np.uint8]:
        with self._current() as cuda:
            memory: NDArray[np.uint8] = cuda.pagelocked_empty(num_bytes, np.uint8)
        return memory

    def free_pinned(self, memory: NDArray[np.uint8]) -> None:
        owner: Any = memory.base
        with self._current():
            owner.free()

    def create_stream(self) -> int:
        with self._current() as cuda:
            stream = cuda.Stream(_NON_BLOCKING)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        with self._current():
            del self._streams[stream]

    def copy_to_device(self, address: int, source: NDArray[np.uint8], stream: int) -> None:
        with self._current() as cuda:
            cuda.memcpy_htod_async(address, source, self._streams[stream])

    def copy_to_host(self, target: NDArray[np.uint8], address: int, stream: int) -> None:
        with self._current() as cuda:
            cuda.memcpy_dtoh_async(target, address, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        with self._current():
            self._streams[stream].synchronize()

    def time_ms(self, stream: int, enqueue: Callable[[], None]) -> float:
        with self._current() as cuda:
            start, end = cuda.Event(), cuda.Event()
            start.record(self._streams[stream])
        enqueue()
        with self._current():
            end.record(self._streams[stream])
            end.synchronize()
            elapsed_ms = float(end.time_since(start))
            del start, end  # they must be destroyed while their context is current
        return elapsed_ms

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        command = make_pip_command("install", REQUIREMENT)
        raise EngineError(f"{self.package} has no stream capture. cuda-bindings has: {command}")

    def launch(self, graph: int, stream: int) -> None:
        raise EngineError(f"{self.package} has no graphs.")

    def free_graph(self, graph: int) -> None:
        raise EngineError(f"{self.package} has no graphs.")

    def memory(self) -> tuple[int, int]:
        with self._current() as cuda:
            free, total = cuda.mem_get_info()
        return int(free), int(total)

    def close(self) -> None:
        """Release the primary context."""
        if self._context is not None:
            context, self._context = self._context, None
            context.push()  # it must be current in the thread that releases it
            context.detach()
