"""The interface that every engine's session has."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, IoDtype, Model, Precision, Task
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.sizes import SizeRange

Tensor = NDArray[Any]
"""float32 or uint8, as the model's I/O dtype says."""

GPU_BATCH = 8
"""Patches of 256 to 512 pixels a side that a GPU processes in one run. CPUs process one at a time: ONNX Runtime and
OpenVINO were no faster with 4, and slower with one thread for each stream."""

CLOSED = "this session is closed. Open another one."


class RunParts(NamedTuple):
    """Milliseconds of one run."""

    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float


class Closeable(ABC):
    """A resource that is closed by a call or as a context manager."""

    @abstractmethod
    def close(self) -> None:
        """Free the resource. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Session(Closeable):
    """A model that is open in one engine.

    Args:
        model: The model.

    Attributes:
        path: File that runs: the model's, or a cached plan.
        task: What goes in and comes out.
        io_dtype: Dtype of inputs and outputs; see :mod:`wavepaint.contract`.
        size_multiple: Height and width must be multiples of this; 1 with uint8 inputs and outputs.
        is_rounded: Whether the network rounds its result to 8-bit levels.
        engine: Human-readable engine, version and device that really run.
        precision: Arithmetic precision that really runs.
        weights: Precision of the stored weights; an engine may compute in a higher or lower one.
        device: "CPU", or the GPU's name.
        memory_factor: Peak memory of a run, divided by the peak size of the live tensors in the exported float32 graph.
        max_batch: Number of images in one run beyond which runs are no faster.
        sizes: Ranges of sizes that can run, apart from the size multiple; most models and engines take any.
    """

    engine: str
    precision: Precision
    weights: Precision
    memory_factor: float
    max_batch: int
    device = "CPU"
    sizes: tuple[SizeRange, ...]

    def __init__(self, model: Model) -> None:
        self.path = model.path
        self.task = model.task
        self.io_dtype = model.artifact.io_dtype
        self.size_multiple = model.size_multiple if self.io_dtype == "float32" else 1
        self.precision = self.weights = model.artifact.precision
        self.sizes = (_find_sizes(model),)
        self.is_rounded = bool(model.artifact.details.get("rounded"))

    @property
    def arithmetic(self) -> str:
        """Human-readable precision: "float32", or "float32 on float16 weights"."""
        return self.precision if self.weights == self.precision else f"{self.precision} on {self.weights} weights"

    def run(self, *tensors: Tensor) -> Tensor:
        """Run the model on a batch.

        Args:
            tensors: The task's inputs, in order. The image is (N, 3, H, W) float32 in [0, 1], or (N, H, W, 3) uint8, as
                the I/O dtype says. The mask is (N, 1, H, W) float32, 1 = hole, 0 = known, or (N, H, W, 1) uint8, 128 to
                255 = hole.

        Returns:
            The task's output: a tensor like the image for inpainting; logits (N, classes) for classification and
            (N, classes, H', W') for segmentation.

        Raises:
            EngineMemoryError: The engine ran out of memory.
            EngineError: The tensors break the contract, the session is closed, or the engine failed.
        """
        with self._checked(*tensors):
            return self._infer(*tensors)

    def run_many(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Fill the holes of many batches. Some engines process several at the same time.

        Args:
            batches: Images and masks for :meth:`run`. They are read only as needed.

        Yields:
            The result of :meth:`run` for each batch, in order.

        Raises:
            EngineError: As :meth:`run`, after the results of the batches before the one that failed.
        """
        for image, mask in batches:
            yield self.run(image, mask)

    def time_parts(self, *tensors: Tensor, num_runs: int = 1, repeats: int = 1) -> list[RunParts]:
        """Measure how long a device takes to copy in, compute and copy out one batch.

        Args:
            tensors: See :meth:`run`.
            num_runs: Number of runs.
            repeats: Number of back-to-back computations in each run; their mean is returned. With many, the launch of
                the first hardly counts.

        Returns:
            The times of each run; empty for engines that copy nothing, or that do not measure it.

        Raises:
            EngineError: As :meth:`run`.
        """
        return []

    def takes(self, batch: int, height: int, width: int) -> bool:
        """Return whether a batch of this size can run, apart from the size multiple."""
        return any(sizes.contains((batch, height, width)) for sizes in self.sizes)

    def explain_refusal(self, batch: int, height: int, width: int) -> str:
        """Return why a batch of a size outside :attr:`sizes` cannot run, and the fix, without a full stop."""
        (batches, sides), *_ = (_describe_range(sizes) for sizes in self.sizes)
        return f"this model takes {sides} pixels in batches of {batches}, not {batch} of {width}x{height}"

    def list_sizes_to_check(self) -> list[tuple[int, int, int]]:
        """Return a few sizes (batch, height, width) that the session takes, for comparisons."""
        multiple = self.size_multiple
        wanted = ((2, 2 * multiple, 3 * multiple), (1, 256, 256))
        return list(dict.fromkeys(self.sizes[0].clamp(size, multiple) for size in wanted))

    @contextmanager
    def _checked(self, *tensors: Tensor) -> Iterator[None]:
        """Check a batch, then turn the engine's exceptions into :class:`EngineError`."""
        check_inputs(tensors, self.task, self.io_dtype, self.size_multiple)
        batch, *sides = tensors[0].shape[:1] + tensors[0].shape[2 if self.io_dtype == "float32" else 1 :][:2]
        if not self.takes(batch, *sides):
            raise EngineError(f"{self.explain_refusal(batch, *sides)}.")
        if not self._is_open():
            raise EngineError(CLOSED)
        try:
            yield
        except EngineError:
            raise
        except Exception as error:  # the engines' exceptions share no base but Exception
            kind = EngineMemoryError if is_out_of_memory(error) else EngineError
            raise kind(f"{self.engine} failed on a batch of shape {tensors[0].shape}: {first_line(error)}") from error

    @abstractmethod
    def _is_open(self) -> bool: ...

    @abstractmethod
    def _infer(self, *tensors: Tensor) -> Tensor:
        """Run checked tensors."""


def _find_sizes(model: Model) -> SizeRange:
    """Return the sizes that a model takes. With uint8 inputs and outputs the graph pads smaller images itself."""
    sizes = SizeRange.from_limits(model.sizes)
    return sizes if model.artifact.io_dtype == "float32" else SizeRange((sizes.least[0], 1, 1), sizes.most)


def _describe_range(sizes: SizeRange) -> tuple[str, str]:
    """Return the batches and the sides of a range in words."""
    (batch, height, width), (most, highest, widest) = sizes
    batches = f"{batch}" if batch == most else f"{batch} to {most}"
    is_fixed = (height, width) == (highest, widest)
    return batches, f"{width}x{height}" if is_fixed else f"{width}x{height} to {widest}x{highest}"


def check_threads(threads: int | None) -> None:
    """Raise :class:`EngineError` for fewer than one thread; None leaves the choice to the engine."""
    if threads is not None and threads < 1:
        raise EngineError(f"threads is {threads}: expected 1 or more (--threads).")


def first_line(error: Exception) -> str:
    """Return the first line of an engine's message that does not merely locate the error in the engine's source."""
    lines = (line.strip() for line in str(error).splitlines())
    informative = (line for line in lines if line and not line.startswith(("Exception from", "Check '")))
    return next(informative, type(error).__name__)


_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|bad allocation|out of memory|fail\w* to allocate|could not allocate|not enough memory", re.I
)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out. Apart from MemoryError, the engine's message is the only sign."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


_CHANNELS = {INPUT_IMAGE: IMAGE_CHANNELS, INPUT_MASK: 1}


def check_inputs(tensors: tuple[Tensor, ...], task: Task, io_dtype: IoDtype, size_multiple: int) -> None:
    """Check types, dtypes and shapes of a batch against the contract; values are not checked.

    Raises:
        EngineError: A tensor breaks the contract, or one is missing or superfluous.
    """
    axis = 1 if io_dtype == "float32" else 3
    if len(tensors) != len(task.inputs):
        raise EngineError(f"{len(tensors)} tensors are given: {task.name} takes {' and '.join(task.inputs)}.")
    for name, tensor in zip(task.inputs, tensors, strict=True):
        channels = _CHANNELS[name]
        if not isinstance(tensor, np.ndarray):
            raise EngineError(f"{name} is a {type(tensor).__name__}, expected a numpy array.")
        if tensor.dtype != np.dtype(io_dtype):
            raise EngineError(f"{name} has dtype {tensor.dtype}, expected {io_dtype}.")
        if tensor.ndim != 4 or tensor.shape[axis] != channels or 0 in tensor.shape:
            layout = f"(N, {channels}, H, W)" if io_dtype == "float32" else f"(N, H, W, {channels})"
            raise EngineError(f"{name} has shape {tensor.shape}, expected {layout}, none of them 0.")
    image = tensors[0]
    for name, tensor in zip(task.inputs, tensors, strict=True):
        if _without(image.shape, axis) != _without(tensor.shape, axis):
            raise EngineError(
                f"{INPUT_IMAGE} {image.shape} and {name} {tensor.shape} differ in batch, height or width."
            )
    height, width = image.shape[2:] if io_dtype == "float32" else image.shape[1:3]
    if height % size_multiple or width % size_multiple:
        raise EngineError(f"height {height} and width {width} must be multiples of {size_multiple}; pad first.")


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def make_batch(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return a reproducible image (N, 3, H, W) and mask (N, 1, H, W) with a box hole in the middle, float32."""
    image = np.random.default_rng(0).random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32)
    mask = np.zeros((batch, 1, height, width), dtype=np.float32)
    mask[..., height // 3 : -(-2 * height // 3), width // 3 : -(-2 * width // 3)] = 1
    return image, mask
