"""The one interface every engine is behind."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, IoDtype
from wavepaint.contract import Precision as Precision
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.sizes import SizeRange

Tensor = NDArray[Any]
"""float32 or uint8, as the session's edges say."""

GPU_BATCH = 8
"""Patches of 256 to 512 pixels a side that GPUs take in one run. CPUs take them one by one: ONNX Runtime and OpenVINO
filled 4 at once no faster, and with a thread a stream slower."""


class RunParts(NamedTuple):
    """Milliseconds of one run, by the device's clock."""

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float


class Closeable(ABC):
    """What is closed by hand or as a context manager."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Session(Closeable):
    """A loaded model in one engine.

    Args:
        path: The model's file.
        io_dtype: Kind of its inputs and outputs; see :mod:`wavepaint.contract`.
        size_multiple: Height and width must be multiples of this (float32 edges).

    Attributes:
        engine: What really runs, for people: engine, version and device.
        precision: Arithmetic that really runs.
        weights: Precision that the weights are stored in; an engine may compute in a higher or a lower one.
        device: "CPU", or the GPU's name.
        memory_factor: Peak memory of a run over what the live tensors of the exported float32 graph take.
        max_batch: Images in one run from which on more make it no faster.
        sizes: Ranges of sizes that may be run, apart from the size multiple; most engines take any.
    """

    engine: str
    precision: str
    memory_factor: float
    max_batch: int
    device = "CPU"
    sizes: tuple[SizeRange, ...] = (SizeRange(),)

    @property
    def weights(self) -> str:
        return self.precision

    @property
    def arithmetic(self) -> str:
        """What is computed on which weights, for people: "float32", or "float32 on float16 weights"."""
        return self.precision if self.weights == self.precision else f"{self.precision} on {self.weights} weights"

    def __init__(self, path: Path, *, io_dtype: IoDtype = "float32", size_multiple: int = 1) -> None:
        self.path = path
        self.io_dtype = io_dtype
        self.size_multiple = size_multiple if io_dtype == "float32" else 1

    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill the holes of a batch.

        Args:
            image: (N, 3, H, W) float32 in [0, 1], or (N, H, W, 3) uint8, as the edges say.
            mask: (N, 1, H, W) float32, 1 = hole, 0 = known, or (N, H, W, 1) uint8, 128 and more = hole.

        Returns:
            Like ``image``.

        Raises:
            EngineMemoryError: The engine ran out of memory.
            EngineError: Tensors that break the contract, a closed session, or another failure of the engine.
        """
        with self._checked(image, mask):
            return self._infer(image, mask)

    def run_many(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Fill the holes of many batches; an engine that can works on several at a time.

        Args:
            batches: Images and masks, as :meth:`run` takes them. They are read as they are needed.

        Yields:
            What :meth:`run` would return for each, in order.

        Raises:
            EngineError: As :meth:`run`, after the results of the batches before the one that failed.
        """
        for image, mask in batches:
            yield self.run(image, mask)

    def time_parts(self, image: Tensor, mask: Tensor, num_runs: int = 1, *, repeats: int = 1) -> list[RunParts]:
        """Return how long a device takes to copy in, compute and copy out one batch, in each of some runs.

        Args:
            image: As :meth:`run` takes it.
            mask: Likewise.
            num_runs: How many.
            repeats: How often each computes, back to back, of which it returns the mean: with many, how the first is
                launched does not count.

        Returns:
            Empty for engines that compute where the batch lies, or do not tell.

        Raises:
            EngineError: As :meth:`run`.
        """
        return []

    def takes(self, batch: int, height: int, width: int) -> bool:
        """Return whether a batch of this size may be run, apart from the size multiple."""
        return any(sizes.holds((batch, height, width)) for sizes in self.sizes)

    def refusal(self, batch: int, height: int, width: int) -> str:
        """Return why a batch of a size that is not taken may not be run, and what mends it; no full stop."""
        return f"{self.engine} takes no batch of {batch}x{width}x{height} (batch x width x height)"

    def sizes_to_check(self) -> list[tuple[int, int, int]]:
        """Return (batch, height, width) of a few batches that the session takes, to try it out."""
        multiple = self.size_multiple
        side = -(-256 // multiple) * multiple
        return [(2, 2 * multiple, 3 * multiple), (1, side, side)]

    @contextmanager
    def _checked(self, image: Tensor, mask: Tensor) -> Iterator[None]:
        """Check a batch, then tell of an engine's failure on it in this package's words."""
        check_inputs(image, mask, self.io_dtype, self.size_multiple)
        if not self._is_open():
            raise EngineError("this session is closed. Open another one.")
        try:
            yield
        except EngineError:
            raise
        except Exception as error:  # the engines' exceptions share no base but Exception
            kind = EngineMemoryError if _is_out_of_memory(error) else EngineError
            raise kind(f"{self.engine} failed on a batch of shape {image.shape}: {first_line(error)}") from error

    @abstractmethod
    def _is_open(self) -> bool: ...

    @abstractmethod
    def _infer(self, image: Tensor, mask: Tensor) -> Tensor:
        """Run checked tensors."""


def check_threads(threads: int | None) -> None:
    """Raise unless a number of threads makes sense; None leaves the choice to the engine.

    Raises:
        EngineError: Fewer than one.
    """
    if threads is not None and threads < 1:
        raise EngineError(f"threads is {threads}: expected 1 or more (--threads).")


def first_line(error: Exception) -> str:
    """Return the first line of an engine's message that is not merely a place in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (told or [type(error).__name__])[0]


_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|bad allocation|out of memory|fail\w* to allocate|could not allocate|not enough memory", re.I
)


def _is_out_of_memory(error: Exception) -> bool:
    """Tell by an engine's message, the only sign there is, whether memory ran out."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


def check_inputs(image: Tensor, mask: Tensor, io_dtype: IoDtype, size_multiple: int) -> None:
    """Check a batch against the contract, values left aside.

    Raises:
        EngineError: Naming the tensor, what it is and what was expected.
    """
    axis = 1 if io_dtype == "float32" else 3
    for name, tensor, channels in ((INPUT_IMAGE, image, IMAGE_CHANNELS), (INPUT_MASK, mask, 1)):
        if not isinstance(tensor, np.ndarray):
            raise EngineError(f"{name} is a {type(tensor).__name__}, expected a numpy array.")
        if tensor.dtype != np.dtype(io_dtype):
            raise EngineError(f"{name} has dtype {tensor.dtype}, expected {io_dtype}.")
        if tensor.ndim != 4 or tensor.shape[axis] != channels or 0 in tensor.shape:
            layout = f"(N, {channels}, H, W)" if io_dtype == "float32" else f"(N, H, W, {channels})"
            raise EngineError(f"{name} has shape {tensor.shape}, expected {layout}, none of them 0.")
    if _without(image.shape, axis) != _without(mask.shape, axis):
        raise EngineError(
            f"{INPUT_IMAGE} {image.shape} and {INPUT_MASK} {mask.shape} differ in batch, height or width."
        )
    height, width = image.shape[2:] if io_dtype == "float32" else image.shape[1:3]
    if height % size_multiple or width % size_multiple:
        raise EngineError(f"height {height} and width {width} must be multiples of {size_multiple}; pad first.")


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def make_batch(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return a fixed image batch (N, 3, H, W) and mask (N, 1, H, W) with a box hole in the middle."""
    image = np.random.default_rng(0).random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32)
    mask = np.zeros((batch, 1, height, width), dtype=np.float32)
    mask[..., height // 3 : -(-2 * height // 3), width // 3 : -(-2 * width // 3)] = 1
    return image, mask
