"""Which NVIDIA GPUs there are, asked of the driver itself: no CUDA package is needed.

CUDA is not initialised here: a process that forks afterwards could not use it in its children. NVML, which comes with
the driver, knows every GPU of the machine; ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` say which of them CUDA
will show, and in which order. A process that uses CUDA already is told by CUDA itself.

CUDA puts the fastest GPU first unless ``CUDA_DEVICE_ORDER`` is ``PCI_BUS_ID``, and does not say how it measures. Where
GPUs differ, the order is assumed to be that of cores times clock, and that of the PCI bus between equals. UUIDs in
``CUDA_VISIBLE_DEVICES`` leave no doubt.
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

_SM_CLOCK = 1  # of nvmlDeviceGetMaxClockInfo

_TEXT_BYTES = 96  # of names and UUIDs


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
        name: As the driver calls it.
        compute_capability: Such as "sm90".
        memory_mb: All of its memory, in MiB.
    """

    name: str
    compute_capability: str
    memory_mb: int


def find_gpus() -> list[Gpu]:
    """Return the GPUs that CUDA shows to this process; none without a driver."""
    driver = _load_driver()
    if driver is None:
        return []
    with _nvml() as nvml:
        if nvml is not None and not _is_initialised(driver):
            return [_describe(nvml, device) for device in _find_visible(nvml)]
    # Without NVML, as on some embedded boards and in containers without the driver's utilities, only CUDA can tell.
    return _ask_cuda(driver)


def find_driver_version() -> str | None:
    """Return the newest CUDA version the driver supports, such as "13.0"; None without a driver."""
    driver, version = _load_driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def count_used_memory_mb() -> int | None:
    """Return how many MiB of the first GPU's memory are taken, by all processes; None where nobody can tell.

    Asked of NVML, which unlike CUDA takes no memory of its own to answer.
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
    """Return whether this process uses CUDA already."""
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
    """Give NVML for a while; None where it does not load or start."""
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
    """A GPU or a MIG device: NVML's handles of it and of its GPU, and the names that CUDA knows it by."""

    handle: Any
    gpu: Any
    names: tuple[str, ...]


def _find_visible(nvml: Any) -> list[_Device]:
    """Return what CUDA shows to this process, in its order."""
    gpus = _list_gpus(nvml)
    parts = {gpu: _list_parts(nvml, gpu) for gpu in gpus}
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = gpus if wanted is None else _choose(wanted, gpus, [part for some in parts.values() for part in some])
    shown = [part for device in chosen for part in parts.get(device, [device])]
    # CUDA shows one MIG device alone, and no GPU beside it.
    return [device for device in shown if device.handle is not device.gpu][:1] or shown


def _choose(wanted: str, gpus: list[_Device], parts: list[_Device]) -> list[_Device]:
    """Return the devices that ``CUDA_VISIBLE_DEVICES`` names: by index, or by the beginning of a UUID."""
    found: list[_Device] = []
    for name in map(str.strip, wanted.split(",")):
        index = re.match(r"[+-]?\d+", name)
        if index is not None:
            named = [gpu for number, gpu in enumerate(gpus) if number == int(index[0])]
        else:
            known = dict.fromkeys((*gpus, *parts))  # a GPU that is not split is its own part
            named = [device for device in known if any(uuid.startswith(name) for uuid in device.names)]
        if len(named) != 1 or not name:  # what is unknown hides all that follow
            break
        if named[0] in found:  # and what is named twice hides everything
            return []
        found += named
    return found


def _list_gpus(nvml: Any) -> list[_Device]:
    """Return all GPUs, in CUDA's order."""
    count, found = ctypes.c_uint(), []
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        handle, pci = ctypes.c_void_p(), _NvmlPci()
        # What this process has no permission for, CUDA does not show either.
        if not nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
            nvml.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(pci))
            speed = _number(nvml, "NumGpuCores", handle) * _number(nvml, "MaxClockInfo", handle, _SM_CLOCK)
            first = 0 if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" else -speed
            device = _Device(handle, handle, (_text(nvml, "UUID", handle),))
            found.append(((first, pci.domain, pci.bus, pci.device), device))
    return [device for _, device in sorted(found, key=lambda one: one[0])]


def _list_parts(nvml: Any, gpu: _Device) -> list[_Device]:
    """Return the MIG devices of a GPU that is split into such; the GPU itself if it is not."""
    (uuid,) = gpu.names
    most = _number(nvml, "MaxMigDeviceCount", gpu.handle)
    found = []
    for index in range(most):
        part = ctypes.c_void_p()
        if not nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, index, ctypes.byref(part)):
            instances = "/".join(str(_number(nvml, name, part)) for name in ("GpuInstanceId", "ComputeInstanceId"))
            found.append(_Device(part, gpu.handle, (_text(nvml, "UUID", part), f"MIG-{uuid}/{instances}")))
    return found if most else [gpu]


def _describe(nvml: Any, device: _Device) -> Gpu:
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _NvmlMemory()
    nvml.nvmlDeviceGetCudaComputeCapability(device.gpu, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlDeviceGetMemoryInfo(device.handle, ctypes.byref(memory))
    capability = f"sm{major.value}{minor.value}"
    return Gpu(_text(nvml, "Name", device.handle), capability, memory.total >> 20)


def _number(nvml: Any, what: str, handle: Any, *arguments: int) -> int:
    """Return a number that NVML tells of a device; 0 where it does not, or is older than the question."""
    value, ask = ctypes.c_uint(), getattr(nvml, f"nvmlDeviceGet{what}", None)
    return 0 if ask is None or ask(handle, *arguments, ctypes.byref(value)) else value.value


def _text(nvml: Any, what: str, handle: Any) -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    getattr(nvml, f"nvmlDeviceGet{what}")(handle, text, len(text))
    return text.value.decode(errors="replace")
