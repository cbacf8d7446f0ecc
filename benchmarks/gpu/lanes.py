"""Cells that are open and can be timed: with the copies to the device and back, and the computing alone.

PyTorch copies as the runtime's TensorRT session does, so that with copies both do the same work: one thread copies the
batch into pinned memory, a stream copies it to the device, the result back into pinned memory, and one thread copies it
out. Computing alone lies between CUDA events, on tensors that lie on the device: around one run (how long a caller
waits, which has the launch in it) and around many that are enqueued back to back (how many there are in a second).
Without a GPU everything runs on the CPU, for a dry run.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.ceilings import new_event
from wavepaint.errors import EngineError, WavePaintError
from wavepaint.runtime.engines.session import Session, first_line

Tensor = NDArray[Any]

_WARMUP_RUNS = 3


class NotRunError(EngineError):
    """A cell cannot be run here, which is no failure of what it measures."""


class StreamContext(ABC):
    """An open cell.

    Attributes:
        label: What runs, for people.
        plan_mb: Size of its plan, in MB.
        build_s: Seconds that building the plan took; next to none if it was there.
        first_run_s: Seconds from the plan to its first result.
        note: What was not done as it should be; empty if all was.
    """

    label: str
    plan_mb: float | None = None
    build_s: float | None = None
    first_run_s: float | None = None
    note: str = ""

    @abstractmethod
    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill a batch, from the host's memory to the host's memory."""

    @abstractmethod
    def time_compute(self, image: Tensor, mask: Tensor, num_runs: int) -> list[float]:
        """Return milliseconds of single runs without copies; none where nobody can tell. The batch was run before."""

    @abstractmethod
    def time_burst(self, image: Tensor, mask: Tensor, num_runs: int) -> float | None:
        """Return milliseconds a run, of runs without copies that are enqueued back to back; None as above."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held."""

    def try_to_close(self) -> str:
        """Free what is held; return what went wrong, which changes nothing of what was measured, or an empty text."""
        try:
            self.close()
        except Exception as error:  # drivers and libraries raise what they like
            return f"closing it failed: {describe_error(error)}"
        return ""


class TorchLane(StreamContext):
    """A PyTorch network.

    Args:
        network: On the device, in evaluation mode.
        device: "cuda" or "cpu".
        label: For people.
        graph: Whether to capture a CUDA graph.
        precision: What :func:`allow_tf32` takes.
    """

    def __init__(
        self,
        network: Callable[..., torch.Tensor],
        device: str,
        label: str,
        *,
        graph: bool = False,
        precision: str = "float32",
    ) -> None:
        self._network, self._device, self.label = network, device, label
        self._wants_graph, self._precision = graph, precision
        self._graph: Any = None
        self._inputs: list[torch.Tensor] = []
        self._pinned: list[torch.Tensor] = []
        self._output: torch.Tensor | None = None
        self._pinned_output: torch.Tensor | None = None
        self._stream = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]

    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        allow_tf32(self._precision)
        with torch.inference_mode():
            if self._stream is None:
                return self._network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
            with torch.cuda.stream(self._stream):
                self._copy_in(image, mask)
                self._compute()
                assert self._output is not None
                if self._pinned_output is None:
                    self._pinned_output = torch.empty_like(self._output, device="cpu").contiguous().pin_memory()
                self._pinned_output.copy_(self._output, non_blocking=True)
            self._stream.synchronize()
            return self._pinned_output.numpy().copy()

    def _copy_in(self, image: Tensor, mask: Tensor) -> None:
        if not self._inputs:
            self._pinned = [torch.from_numpy(tensor.copy()).pin_memory() for tensor in (image, mask)]
            self._inputs = [tensor.to(self._device) for tensor in self._pinned]
        for tensor, pinned, target in zip((image, mask), self._pinned, self._inputs, strict=True):
            np.copyto(pinned.numpy(), tensor)  # PyTorch's own copy would take all cores
            target.copy_(pinned, non_blocking=True)

    def _compute(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        if self._wants_graph:
            assert self._stream is not None
            for _ in range(_WARMUP_RUNS):
                self._network(*self._inputs)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads, such as those that pin memory, may call CUDA meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._output = self._network(*self._inputs)
            self._graph = graph
            self._graph.replay()
            return
        self._output = self._network(*self._inputs)

    def time_compute(self, image: Tensor, mask: Tensor, num_runs: int) -> list[float]:
        return [self.time_burst(image, mask, 1) for _ in range(num_runs)]

    def time_burst(self, image: Tensor, mask: Tensor, num_runs: int) -> float:
        allow_tf32(self._precision)
        with torch.inference_mode():
            if self._stream is None:
                tensors = torch.from_numpy(image), torch.from_numpy(mask)
                started = time.perf_counter()
                for _ in range(num_runs):
                    self._network(*tensors)
                return (time.perf_counter() - started) * 1e3 / num_runs
            start, end = new_event(), new_event()
            with torch.cuda.stream(self._stream):
                start.record()
                for _ in range(num_runs):
                    self._compute()
                end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / num_runs

    def close(self) -> None:
        self._graph = self._output = self._pinned_output = None
        self._inputs, self._pinned = [], []
        self._network = _closed
        if self._stream is not None:
            torch.cuda.empty_cache()


def describe_error(error: Exception) -> str:
    """Return what an error says, with its kind unless it is this package's own."""
    return str(error) if isinstance(error, WavePaintError) else f"{type(error).__name__}: {first_line(error)}"


def allow_tf32(precision: str) -> None:
    """Let PyTorch round products of float32 to ten bits on a GPU, or forbid it.

    Args:
        precision: "tf32" lets it in all products, "defaults" in convolutions alone, which is what PyTorch does unless
            it is told otherwise, and anything else in none.
    """
    torch.backends.cudnn.allow_tf32 = precision in ("tf32", "defaults")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def _closed(*tensors: torch.Tensor) -> torch.Tensor:
    raise EngineError("this lane is closed. Open another one.")


class SessionLane(StreamContext):
    """A session of the runtime."""

    def __init__(self, session: Session) -> None:
        self._session, self.label = session, session.engine

    def run(self, image: Tensor, mask: Tensor) -> Tensor:
        return self._session.run(image, mask)

    def time_compute(self, image: Tensor, mask: Tensor, num_runs: int) -> list[float]:
        return [parts.compute_ms for parts in self._session.time_parts(image, mask, num_runs)]

    def time_burst(self, image: Tensor, mask: Tensor, num_runs: int) -> float | None:
        return next((parts.compute_ms for parts in self._session.time_parts(image, mask, repeats=num_runs)), None)

    def close(self) -> None:
        self._session.close()
