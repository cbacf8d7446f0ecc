"""Find the NVIDIA GPUs of this machine through the driver, without any CUDA package.

CUDA is not initialised, because a process forked afterwards could not use it. NVML, a part of the driver, lists every
GPU of the machine. ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` define which of them CUDA will show, and in which
order. If the process already uses CUDA, CUDA itself is asked.

CUDA lists the fastest GPU first unless ``CUDA_DEVICE_ORDER`` is ``PCI_BUS_ID``, and does not document how it measures
speed. This module assumes cores times clock, and the PCI bus order among equals. UUIDs in ``CUDA_VISIBLE_DEVICES`` are
unambiguous.
"""

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Attributes of cuDeviceGetAttribute.
_MAJOR, _MINOR = 75, 76

_SM_CLOCK = 1
"""NVML_CLOCK_SM of nvmlDeviceGetMaxClockInfo."""

_TEXT_BYTES = 96
"""Size of a buffer for a name or a UUID."""


class _NvmlMemory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _NvmlPci(ctypes.Structure):
    """nvmlPciInfo_t."""

    _fields_ = (
        ("bus_id_legacy", ctypes.c_char * 16),
        *((name, ctypes.c_uint) for name in ("domain", "bus", "device", "pci_device_id", "pci_subsystem_id")),
        ("bus_id", ctypes.c_char * 32),
    )


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG device, in CUDA's order.

    Attributes:
        name: The driver's name for it.
        compute_capability: Such as "sm90".
        memory_mb: Total memory in MiB.
    """

    name: str
    compute_capability: str
    memory_mb: int


def find_gpus() -> list[Gpu]:
    """Return the GPUs that CUDA shows to this process; an empty list without a driver."""
    driver = _load_driver()
    if driver is None:
        return []
    with _nvml() as nvml:
        if nvml is not None and not _is_initialised(driver):
            return [_describe(nvml, device) for device in _find_visible(nvml)]
    # NVML is missing on some embedded boards, and in containers without the driver's utilities.
    return _ask_cuda(driver)


def get_gpu_name() -> str:
    """Return the name of the first GPU, or "GPU" without a driver."""
    return next((gpu.name for gpu in find_gpus()), "GPU")


def find_driver_version() -> str | None:
    """Return the newest CUDA version that the driver supports, such as "13.0"; None without a driver."""
    driver, version = _load_driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def count_used_memory_mb() -> int | None:
    """Return the memory of the first GPU that all processes use, in MiB; None without NVML or a GPU.

    NVML is asked because CUDA itself would use memory to answer.
    """
    with _nvml() as nvml:
        visible = _find_visible(nvml) if nvml is not None else []
        memory = _NvmlMemory()
        if nvml is None or not visible or nvml.nvmlDeviceGetMemoryInfo(visible[0].handle, ctypes.byref(memory)):
            return None
        return int(memory.used >> 20)


def _load_driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def _is_initialised(driver: ctypes.CDLL) -> bool:
    """Return whether this process already uses CUDA."""
    return not driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int()))


def _ask_cuda(driver: ctypes.CDLL) -> list[Gpu]:
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
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


def _load_nvml() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None


@contextmanager
def _nvml() -> Iterator[Any]:
    """Start NVML for a with block. Yields None if it does not load or start."""
    nvml = _load_nvml()
    if nvml is None or nvml.nvmlInit_v2():
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


@dataclass(frozen=True, eq=False)
class _Device:
    """A GPU or a MIG device: NVML's handles of it and of its GPU, and its names in CUDA_VISIBLE_DEVICES."""

    handle: Any
    gpu: Any
    names: tuple[str, ...]


def _find_visible(nvml: Any) -> list[_Device]:
    """Return the devices that CUDA shows to this process, in CUDA's order."""
    gpus = _list_gpus(nvml)
    parts = {gpu: _list_parts(nvml, gpu) for gpu in gpus}
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = gpus if wanted is None else _choose(wanted, gpus, [part for some in parts.values() for part in some])
    shown = [part for device in chosen for part in parts.get(device, [device])]
    # If there is a MIG device, CUDA shows only the first, and no GPU.
    return [device for device in shown if device.handle is not device.gpu][:1] or shown


def _choose(wanted: str, gpus: list[_Device], parts: list[_Device]) -> list[_Device]:
    """Return the devices in ``CUDA_VISIBLE_DEVICES``, named by index or by the beginning of a UUID."""
    found: list[_Device] = []
    for name in map(str.strip, wanted.split(",")):
        index = re.match(r"[+-]?\d+", name)
        if index is not None:
            named = [gpu for number, gpu in enumerate(gpus) if number == int(index[0])]
        else:
            known = dict.fromkeys((*gpus, *parts))  # a GPU without MIG is its own part
            named = [device for device in known if any(uuid.startswith(name) for uuid in device.names)]
        if len(named) != 1 or not name:  # an unknown name hides all that follow
            break
        if named[0] in found:  # a repeated name hides everything
            return []
        found += named
    return found


def _list_gpus(nvml: Any) -> list[_Device]:
    """Return all GPUs, in CUDA's order."""
    count, found = ctypes.c_uint(), []
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        handle, pci = ctypes.c_void_p(), _NvmlPci()
        # This fails for a GPU that this process may not use, and CUDA does not show that GPU either.
        if not nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
            nvml.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(pci))
            speed = _query_number(nvml, "NumGpuCores", handle) * _query_number(nvml, "MaxClockInfo", handle, _SM_CLOCK)
            first = 0 if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" else -speed
            device = _Device(handle, handle, (_query_text(nvml, "UUID", handle),))
            found.append(((first, pci.domain, pci.bus, pci.device), device))
    return [device for _, device in sorted(found, key=lambda one: one[0])]


def _list_parts(nvml: Any, gpu: _Device) -> list[_Device]:
    """Return the MIG devices of a GPU with MIG; else the GPU itself."""
    (uuid,) = gpu.names
    most = _query_number(nvml, "MaxMigDeviceCount", gpu.handle)
    found = []
    for index in range(most):
        part = ctypes.c_void_p()
        if not nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, index, ctypes.byref(part)):
            instances = "/".join(
                str(_query_number(nvml, name, part)) for name in ("GpuInstanceId", "ComputeInstanceId")
            )
            found.append(_Device(part, gpu.handle, (_query_text(nvml, "UUID", part), f"MIG-{uuid}/{instances}")))
    return found if most else [gpu]


def _describe(nvml: Any, device: _Device) -> Gpu:
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _NvmlMemory()
    nvml.nvmlDeviceGetCudaComputeCapability(device.gpu, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlDeviceGetMemoryInfo(device.handle, ctypes.byref(memory))
    capability = f"sm{major.value}{minor.value}"
    return Gpu(_query_text(nvml, "Name", device.handle), capability, memory.total >> 20)


def _query_number(nvml: Any, what: str, handle: Any, *arguments: int) -> int:
    """Return a number from NVML about a device; 0 if NVML fails or is too old for the query."""
    value, ask = ctypes.c_uint(), getattr(nvml, f"nvmlDeviceGet{what}", None)
    return 0 if ask is None or ask(handle, *arguments, ctypes.byref(value)) else value.value


def _query_text(nvml: Any, what: str, handle: Any) -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    getattr(nvml, f"nvmlDeviceGet{what}")(handle, text, len(text))
    return text.value.decode(errors="replace")
