"""The state of the card in this process: its memory, and whether CUDA still answers."""

import re

import torch

from wavepaint.errors import EngineMemoryError

_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|insufficient memory|alloc\w*_failed|fail\w* to allocate|could not (be )?allocate", re.I
)


class Meter:
    """Tells what a cell takes of the device's memory, from when it is made.

    The driver tells what is taken and not given back: by TensorRT, by captured graphs. What PyTorch computes in lies in
    a store of its own, of which it tells the peak.
    """

    def __init__(self) -> None:
        self._free, self._own = free_device_mb(), _own_mb("current")

    def begin_run(self) -> None:
        """Note that a run begins whose peak counts; those before it may have tried what takes more."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def taken_mb(self) -> float:
        """Return what was taken at most since that run began, in MiB; 0 without a GPU."""
        peak = _own_mb("peak") - self._own
        return max(self._free - free_device_mb(), peak, 0.0)


def _own_mb(which: str) -> float:
    if not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.memory_stats().get(f"allocated_bytes.all.{which}", 0) / 2**20)


def free_device_mb() -> float:
    """Return how much memory of the device is free, in MiB; 0 without one."""
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info()[0] / 2**20)


def is_poisoned() -> bool:
    """Say whether an error has left the process's CUDA context unusable, so that only another process can go on."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        torch.ones(1, device="cuda").item()
    except RuntimeError as error:  # others may hold all of the memory, which harms nothing
        return not is_out_of_memory(error)
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory did not suffice; PyTorch and CUDA have several, told by their text."""
    return isinstance(error, EngineMemoryError | MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None
