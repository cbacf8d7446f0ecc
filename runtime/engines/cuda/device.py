"""The part of CUDA that is needed to run a plan.

A run copies a batch to the GPU, lets TensorRT enqueue its kernels and copies the result back. Everything in one run is
enqueued on one stream and is therefore in order, and different runs share no memory. So no events between streams are
needed; events only measure time.
"""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from wavepaint.runtime.engines.session import Closeable


class Device(Closeable):
    """The first GPU that CUDA shows to this process; see ``CUDA_VISIBLE_DEVICES``.

    Addresses, streams and graphs are plain integers, as in TensorRT. Every method may be called from any thread. The
    device's primary context is used, which is also TensorRT's.

    Every method raises :class:`wavepaint.errors.EngineError` with CUDA's name of the error, and
    :class:`wavepaint.errors.EngineMemoryError` if there is too little memory.

    Attributes:
        package: Human-readable Python package and version.
        supports_graphs: Whether :meth:`capture` works.
    """

    package: str
    supports_graphs: bool

    @abstractmethod
    def allocate(self, num_bytes: int) -> int:
        """Return the address of new device memory, at least 256-byte aligned."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Free device memory that nothing enqueued uses."""

    @abstractmethod
    def allocate_pinned(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return page-locked host memory, (num_bytes,) uint8, which the GPU can copy without the CPU."""

    @abstractmethod
    def free_pinned(self, memory: NDArray[np.uint8]) -> None:
        """Free memory from :meth:`allocate_pinned`."""

    @abstractmethod
    def create_stream(self) -> int:
        """Return a new stream that does not wait for the default stream."""

    @abstractmethod
    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream on which nothing is enqueued."""

    @abstractmethod
    def copy_to_device(self, address: int, source: NDArray[np.uint8], stream: int) -> None:
        """Enqueue a copy from pinned memory; ``source`` must not change before the copy is done."""

    @abstractmethod
    def copy_to_host(self, target: NDArray[np.uint8], address: int, stream: int) -> None:
        """Enqueue a copy into pinned memory."""

    @abstractmethod
    def synchronize(self, stream: int) -> None:
        """Wait until everything enqueued on a stream is done. Other threads can run in the meantime."""

    @abstractmethod
    def time_ms(self, stream: int, enqueue: Callable[[], None]) -> float:
        """Return the duration in milliseconds, by the GPU's clock, of the work that ``enqueue`` enqueues.

        Waits for this work and for everything enqueued before it.
        """

    @abstractmethod
    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Return the graph of the work that ``enqueue`` enqueues on a stream, without running it.

        An exception from ``enqueue`` ends the capture and is re-raised.
        """

    @abstractmethod
    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph with the addresses of its capture."""

    @abstractmethod
    def free_graph(self, graph: int) -> None:
        """Free a graph that is not running."""

    @abstractmethod
    def memory(self) -> tuple[int, int]:
        """Return the free and the total device memory in bytes."""
