"""What running a plan needs of CUDA, and the two packages that can give it.

A plan's runner copies a batch to the GPU, lets TensorRT enqueue its kernels and copies the result back. All that
belongs to one run is enqueued on one stream and so is in order by itself, and different runs share no memory: no
events between streams are needed. The only ones here tell the time.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.session import Closeable

DevicePackage = Literal["cuda-bindings", "pycuda"]


class Device(Closeable):
    """The first GPU, as CUDA sees it (``CUDA_VISIBLE_DEVICES`` chooses which that is).

    Addresses, streams and graphs are plain integers, as TensorRT takes them. Every method may be called from any
    thread; the device's primary context is used, which is also TensorRT's.

    Every method raises :class:`EngineError` with CUDA's name of the error, and
    :class:`wavepaint.errors.EngineMemoryError` if the memory does not suffice.

    Attributes:
        package: Python package and version behind it, for people.
        supports_graphs: Whether :meth:`capture` works.
    """

    package: str
    supports_graphs: bool

    @abstractmethod
    def allocate(self, num_bytes: int) -> int:
        """Return the address of new device memory, at least 256-byte aligned."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Free device memory. Nothing enqueued may still use it."""

    @abstractmethod
    def allocate_pinned(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return page-locked host memory, (num_bytes,) uint8, which the GPU copies from and to by itself."""

    @abstractmethod
    def free_pinned(self, memory: NDArray[np.uint8]) -> None:
        """Free what :meth:`allocate_pinned` returned."""

    @abstractmethod
    def create_stream(self) -> int:
        """Return a new stream that does not wait for the default stream."""

    @abstractmethod
    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream on which nothing is enqueued any more."""

    @abstractmethod
    def copy_to_device(self, address: int, source: NDArray[np.uint8], stream: int) -> None:
        """Enqueue a copy of pinned memory; ``source`` must stay as it is until the stream has done it."""

    @abstractmethod
    def copy_to_host(self, target: NDArray[np.uint8], address: int, stream: int) -> None:
        """Enqueue a copy into pinned memory."""

    @abstractmethod
    def synchronize(self, stream: int) -> None:
        """Wait until everything enqueued on a stream is done. Other threads run meanwhile."""

    @abstractmethod
    def time_ms(self, stream: int, enqueue: Callable[[], None]) -> float:
        """Return how many milliseconds a stream works on what ``enqueue`` enqueues, by the GPU's own clock.

        Waits for it, and for what was enqueued before.
        """

    @abstractmethod
    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Return the graph of what ``enqueue`` enqueues on a stream; nothing of it runs yet.

        An exception of ``enqueue`` ends the capture and is passed on.
        """

    @abstractmethod
    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph, with the addresses it was captured with."""

    @abstractmethod
    def free_graph(self, graph: int) -> None:
        """Free a graph that is not running."""

    @abstractmethod
    def memory(self) -> tuple[int, int]:
        """Return how many bytes of device memory are free, and how many there are."""


def open_device(package: DevicePackage | Literal["auto"] = "auto") -> Device:
    """Open the first GPU.

    Args:
        package: Who talks to CUDA; ``auto`` takes cuda-bindings, else pycuda.

    Raises:
        EngineError: Neither is installed, or the driver or the GPU fails; each reason is told.
    """
    reasons = []
    packages: tuple[DevicePackage, ...] = get_args(DevicePackage) if package == "auto" else (package,)
    for name in packages:
        try:
            return _DEVICES[name]()
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError(" ".join(reasons))


def _open_cuda_bindings() -> Device:
    from wavepaint.runtime.engines.cuda.cuda_bindings import CudaDevice

    return CudaDevice()


def _open_pycuda() -> Device:
    from wavepaint.runtime.engines.cuda.pycuda import PycudaDevice

    return PycudaDevice()


_DEVICES: dict[DevicePackage, Callable[[], Device]] = {"cuda-bindings": _open_cuda_bindings, "pycuda": _open_pycuda}
