"""Finding the GPUs that CUDA shows to this process, without initialising CUDA."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.nvml import FakeGpu, FakeMig, FakeNvml
from wavepaint.runtime.engines import gpus as gpus_module
from wavepaint.runtime.engines.gpus import count_used_memory_mb, find_gpus

NOT_INITIALISED = 3


class SleepingDriver:
    """A CUDA driver that is not initialised, and must not be."""

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        return NOT_INITIALISED

    def cuInit(self, flags: int) -> int:  # noqa: N802
        raise AssertionError("cuInit was called, and children of this process could not use CUDA")


Install = Callable[..., FakeNvml]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts GPUs into the machine and sets CUDA's environment variables."""

    def install(*gpus: FakeGpu, show: str | None = None, order: str | None = None) -> FakeNvml:
        nvml = FakeNvml(list(gpus))
        monkeypatch.setattr(gpus_module, "_load_nvml", lambda: nvml)
        monkeypatch.setattr(gpus_module, "_load_driver", SleepingDriver)
        for name, value in (("CUDA_VISIBLE_DEVICES", show), ("CUDA_DEVICE_ORDER", order)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        return nvml

    return install


def three() -> list[FakeGpu]:
    return [FakeGpu(f"GPU-{uuid}", name) for uuid, name in (("8932", "A"), ("8955", "B"), ("1234", "C"))]


def test_gpus_are_described_without_initialising_cuda(install: Install) -> None:
    nvml = install(FakeGpu(name="NVIDIA H100", capability=(9, 0), memory_mb=81_559))
    (found,) = find_gpus()
    assert (found.name, found.compute_capability, found.memory_mb) == ("NVIDIA H100", "sm90", 81_559)
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("show", "names"),
    [
        (None, "ABC"),
        ("2,0", "CA"),
        (" 1 , 2 ", "BC"),
        ("", ""),
        ("-1", ""),
        ("0,2,-1,1", "AC"),
        ("0,3,1", "A"),
        ("1,none,0", "B"),
        ("1gpu,2", "BC"),
        ("0,0", ""),
        ("GPU-1234,GPU-8932", "CA"),
        ("GPU-1,0", "CA"),
        ("GPU-89", ""),
        ("GPU-7777,0", ""),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(install: Install, show: str | None, names: str) -> None:
    install(*three(), show=show)
    assert "".join(found.name for found in find_gpus()) == names


def test_the_fastest_gpu_comes_first_except_in_pci_bus_order(install: Install) -> None:
    slow, fast, equal = FakeGpu("GPU-1", "slow"), FakeGpu("GPU-2", "fast", cores=9000), FakeGpu("GPU-3", "equal")
    install(slow, fast, equal)
    assert [found.name for found in find_gpus()] == ["fast", "slow", "equal"]
    install(slow, fast, equal, show="1", order="FASTEST_FIRST")
    assert [found.name for found in find_gpus()] == ["slow"]
    install(slow, fast, equal, show="1", order="PCI_BUS_ID")
    assert [found.name for found in find_gpus()] == ["fast"]


@pytest.mark.parametrize(
    ("show", "memories"),
    [
        (None, [10_000]),  # only the first MIG device, and no GPU
        ("0", [10_000]),
        ("1", [80_000]),
        ("MIG-bbbb", [10_000]),
        ("MIG-GPU-1/2/0", [10_000]),
        ("MIG-GPU-1/3/0", []),
        ("MIG-cccc", []),
    ],
)
def test_a_gpu_with_mig_shows_one_mig_device(install: Install, show: str | None, memories: list[int]) -> None:
    with_mig = FakeGpu("GPU-1", capability=(8, 0), migs=[FakeMig("MIG-aaaa", 1), FakeMig("MIG-bbbb", 2)])
    install(with_mig, FakeGpu("GPU-2"), show=show)
    found = find_gpus()
    assert [one.memory_mb for one in found] == memories
    if memories == [10_000]:
        assert (found[0].name, found[0].compute_capability) == ("MIG 1g.5gb", "sm80")


def test_a_gpu_without_mig_devices_or_permission_is_not_shown(install: Install) -> None:
    install(FakeGpu("GPU-1", migs=[]), FakeGpu("GPU-2", is_forbidden=True), FakeGpu("GPU-3", "C"))
    assert [found.name for found in find_gpus()] == ["C"]


def test_used_memory_is_that_of_the_first_visible_gpu(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = three()
    nvml = install(*gpus, show="2")
    queried: list[str] = []
    query = nvml.nvmlDeviceGetMemoryInfo
    monkeypatch.setattr(
        nvml,
        "nvmlDeviceGetMemoryInfo",
        lambda handle, memory: queried.append(nvml.handles[handle.value].name) or query(handle, memory),
    )
    assert count_used_memory_mb() == 500
    assert queried == ["C"]
    install(*gpus, show="")
    assert count_used_memory_mb() is None
