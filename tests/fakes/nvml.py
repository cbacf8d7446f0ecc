"""NVML without a driver: GPUs in PCI bus order, some with MIG devices."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 3, 4, 6


@dataclass
class FakeMig:
    """A MIG device: its UUID and the numbers of its instances."""

    uuid: str
    gpu_instance: int
    compute_instance: int = 0


@dataclass
class FakeGpu:
    """A GPU; ``migs`` is None without MIG."""

    uuid: str = "GPU-1"
    name: str = "Simulated GPU"
    capability: tuple[int, int] = (9, 0)
    memory_mb: int = 80_000
    cores: int = 1000
    migs: list[FakeMig] | None = None
    is_forbidden: bool = False


@dataclass
class FakeNvml:
    """A stand-in for the loaded library. Every function returns 0 or an error code of NVML.

    Attributes:
        gpus: GPUs in PCI bus order.
        used_mb: Used memory of every GPU in MiB.
        open: Number of starts without a shutdown.
    """

    gpus: list[FakeGpu] = field(default_factory=lambda: [FakeGpu()])
    used_mb: int = 500
    open: int = 0

    def __post_init__(self) -> None:
        self.handles: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        answers = {
            "nvmlDeviceGetUUID": lambda device: device.uuid,
            "nvmlDeviceGetName": lambda device: device.name if isinstance(device, FakeGpu) else "MIG 1g.5gb",
            "nvmlDeviceGetNumGpuCores": lambda device: device.cores,
            "nvmlDeviceGetMaxMigDeviceCount": lambda device: 0 if device.migs is None else 7,
            "nvmlDeviceGetGpuInstanceId": lambda device: device.gpu_instance,
            "nvmlDeviceGetComputeInstanceId": lambda device: device.compute_instance,
        }
        if name not in answers:
            raise AttributeError(name)

        def answer(handle: Any, *arguments: Any) -> int:
            value = answers[name](self.handles[handle.value])
            if isinstance(value, str):
                arguments[0].value = value.encode()
            else:
                arguments[-1]._obj.value = value
            return 0

        return answer

    def _give(self, device: Any, handle: Any) -> int:
        self.handles[id(device)] = device
        handle._obj.value = id(device)
        return 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        self.open += 1
        return 0

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.open -= 1
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.gpus)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: N802
        gpu = self.gpus[index]
        return NO_PERMISSION if gpu.is_forbidden else self._give(gpu, handle)

    def nvmlDeviceGetPciInfo_v3(self, handle: Any, pci: Any) -> int:  # noqa: N802
        pci._obj.bus = [id(gpu) for gpu in self.gpus].index(handle.value)
        return 0

    def nvmlDeviceGetMaxClockInfo(self, handle: Any, kind: int, clock: Any) -> int:  # noqa: N802
        clock._obj.value = 2000
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int, part: Any) -> int:  # noqa: N802
        migs = self.handles[handle.value].migs or []
        return self._give(migs[index], part) if index < len(migs) else NOT_FOUND

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> int:  # noqa: N802
        major._obj.value, minor._obj.value = self.handles[handle.value].capability
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        device = self.handles[handle.value]
        memory._obj.total = (device.memory_mb if isinstance(device, FakeGpu) else 10_000) << 20
        memory._obj.used = self.used_mb << 20
        return 0
