"""Which NVIDIA GPUs there are, asked of the driver itself: no CUDA package is needed."""

import ctypes
import sys
from dataclasses import dataclass

# Attributes of cuDeviceGetAttribute.
_MAJOR, _MINOR = 75, 76


class _NvmlMemory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class Gpu:
    """One GPU, in the driver's order.

    Attributes:
        name: As the driver calls it.
        compute_capability: Such as "sm90".
        memory_mb: All of its memory, in MiB.
    """

    name: str
    compute_capability: str
    memory_mb: int


def _load_driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return None if driver.cuInit(0) else driver


def find_gpus() -> list[Gpu]:
    """Return the GPUs the driver can use; none without a driver."""
    driver, count = _load_driver(), ctypes.c_int()
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    found = []
    for index in range(count.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
        capability = f"sm{major.value}{minor.value}"
        found.append(Gpu(name.value.decode(errors="replace"), capability, memory.value >> 20))
    return found


def find_driver_version() -> str | None:
    """Return the newest CUDA version the driver supports, such as "13.0"; None without a driver."""
    driver, version = _load_driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _load_nvml() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None


def count_used_memory_mb() -> int | None:
    """Return how many MiB of the first GPU's memory are taken, by all processes; None where nobody can tell.

    Asked of NVML, which comes with the driver and, unlike CUDA, takes no memory of its own to answer.
    """
    nvml = _load_nvml()
    if nvml is None or nvml.nvmlInit_v2():
        return None
    try:
        handle, memory = ctypes.c_void_p(), _NvmlMemory()
        if nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
            return None
        if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
            return None
        return int(memory.used >> 20)
    finally:
        nvml.nvmlShutdown()
