"""CUDA through ``cuda-bindings``, NVIDIA's own package.

It uses the driver API, not the runtime API, because the driver API needs no second CUDA library of a matching version,
and its primary context is the one that TensorRT uses.

Names and argument counts were checked against the wheels 12.8.0 and 13.5.0. In the tests every method runs through the
real wheel against a simulated driver. It has not run on a GPU yet.
"""

import ctypes
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.optional import make_pip_command
from wavepaint.runtime.engines.cuda.device import Device

REQUIREMENT = "cuda-bindings>=12.8"


class CudaDevice(Device):
    """See :class:`wavepaint.runtime.engines.cuda.device.Device`.

    Raises:
        EngineError: cuda-bindings is not installed, or there is no driver or GPU.
    """

    supports_graphs = True

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver
        except ImportError as error:
            command = make_pip_command("install", REQUIREMENT)
            raise EngineError(f"cuda-bindings is not installed or does not load ({error}): {command}") from error
        self._cuda: Any = driver
        self._context: Any = None
        self.package = f"cuda-bindings {importlib.metadata.version('cuda-bindings')}"
        try:
            self._check("cuInit", driver.cuInit(0))
        except EngineError:
            raise
        except Exception as error:  # there is no driver; the exception depends on the version
            raise EngineError(f"{self.package} finds no NVIDIA driver ({error}). Install the GPU's driver.") from error
        self._device = self._check("cuDeviceGet", driver.cuDeviceGet(0))
        self._context = self._check("cuDevicePrimaryCtxRetain", driver.cuDevicePrimaryCtxRetain(self._device))
        try:
            self._call("cuMemGetInfo")
        except BaseException:
            self.close()
            raise

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the driver with this device's context current; the thread may have used another."""
        if self._context is None:
            raise EngineError("this CUDA device is closed. Open another one.")
        self._check("cuCtxSetCurrent", self._cuda.cuCtxSetCurrent(self._context))
        return self._check(name, getattr(self._cuda, name)(*arguments))

    def _check(self, name: str, returned: tuple[Any, ...]) -> Any:
        status, *values = returned
        if status != self._cuda.CUresult.CUDA_SUCCESS:
            _, text = self._cuda.cuGetErrorString(status)
            message = f"{name}: {getattr(status, 'name', status)}, {(text or b'unknown').decode()}"
            if status == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
                raise EngineMemoryError(message)
            raise EngineError(message)
        return values[0] if len(values) == 1 else tuple(values)

    def allocate(self, num_bytes: int) -> int:
        return int(self._call("cuMemAlloc", num_bytes))

    def free(self, address: int) -> None:
        self._call("cuMemFree", address)

    def allocate_pinned(self, num_bytes: int) -> NDArray[np.uint8]:
        address = self._call("cuMemHostAlloc", num_bytes, self._cuda.CU_MEMHOSTALLOC_PORTABLE)
        return np.ctypeslib.as_array((ctypes.c_uint8 * num_bytes).from_address(int(address)))

    def free_pinned(self, memory: NDArray[np.uint8]) -> None:
        self._call("cuMemFreeHost", memory.ctypes.data)

    def create_stream(self) -> int:
        return int(self._call("cuStreamCreate", self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING.value))

    def destroy_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy", stream)

    def copy_to_device(self, address: int, source: NDArray[np.uint8], stream: int) -> None:
        self._call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, stream)

    def copy_to_host(self, target: NDArray[np.uint8], address: int, stream: int) -> None:
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, stream)

    def synchronize(self, stream: int) -> None:
        self._call("cuStreamSynchronize", stream)

    def time_ms(self, stream: int, enqueue: Callable[[], None]) -> float:
        events: list[Any] = []
        try:
            for _ in range(2):
                events.append(self._call("cuEventCreate", self._cuda.CUevent_flags.CU_EVENT_DEFAULT.value))
            start, end = events
            self._call("cuEventRecord", start, stream)
            enqueue()
            self._call("cuEventRecord", end, stream)
            self._call("cuEventSynchronize", end)
            return float(self._call("cuEventElapsedTime", start, end))
        finally:
            for event in events:
                self._call("cuEventDestroy", event)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        # Another thread may allocate memory at the same time, which would break a capture in global mode.
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            # Ends the capture even if this call fails because the capture is broken.
            status, graph = self._cuda.cuStreamEndCapture(stream)
            if status == self._cuda.CUresult.CUDA_SUCCESS:
                self._call("cuGraphDestroy", graph)
            raise
        graph = self._call("cuStreamEndCapture", stream)
        try:
            return int(self._call("cuGraphInstantiate", graph, 0))
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", graph, stream)

    def free_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", graph)

    def memory(self) -> tuple[int, int]:
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)

    def close(self) -> None:
        """Release the primary context."""
        if self._context is not None:
            self._context = None
            self._cuda.cuDevicePrimaryCtxRelease(self._device)
