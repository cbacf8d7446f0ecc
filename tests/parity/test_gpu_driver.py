"""Memory, streams, copies and graphs of a real GPU through the packages for CUDA.

They need the driver and a package, and no TensorRT. Skipped without a GPU.
"""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.parity.conftest import require_gpu_package
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.engines.cuda.device import Device
from wavepaint.runtime.engines.cuda.open import open_device
from wavepaint.runtime.engines.gpus import count_used_memory_mb, find_gpus

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_gpus() == [], reason="needs an NVIDIA GPU"),
]
MIB = 1 << 20

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@pytest.fixture(params=["cuda-bindings", "pycuda"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    require_gpu_package(request.param)
    with open_device(request.param) as device:
        yield device


class Buffers:
    """Device memory on a stream of its own, and pinned memory for what goes there and what comes back."""

    def __init__(self, device: Device, num_bytes: int) -> None:
        self.device, self.num_bytes = device, num_bytes
        self.stream, self.address = device.create_stream(), device.allocate(num_bytes)
        self.source, self.target = device.allocate_pinned(num_bytes), device.allocate_pinned(num_bytes)

    def upload(self) -> None:
        self.device.copy_to_device(self.address, self.source, self.stream)

    def download(self) -> None:
        self.device.copy_to_host(self.target, self.address, self.stream)

    def exchange(self, content: Bytes) -> Bytes:
        """Return a copy of what the GPU returns."""
        self.source[:], self.target[:] = content, 0
        self.upload()
        self.download()
        self.device.synchronize(self.stream)
        return self.target.copy()

    def free(self) -> None:
        self.device.free(self.address)
        self.device.free_pinned(self.source)
        self.device.free_pinned(self.target)
        self.device.destroy_stream(self.stream)


@pytest.fixture
def buffers(device: Device) -> Iterator[Buffers]:
    buffers = Buffers(device, 3 * MIB + 1)
    yield buffers
    buffers.free()


def make_bytes(num_bytes: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, num_bytes, np.uint8)


def test_the_gpu_has_a_name_a_capability_and_memory() -> None:
    gpu = find_gpus()[0]
    assert gpu.name
    assert gpu.compute_capability.removeprefix("sm").isdigit()
    assert gpu.memory_mb > 0


def test_memory_is_aligned_counted_and_freed(device: Device) -> None:
    free, total = device.memory()
    assert 0 < free <= total
    used_mb = count_used_memory_mb()
    addresses = [device.allocate(size) for size in (16 * MIB, 1, 1000)]
    assert all(address % 256 == 0 for address in addresses)
    assert len(set(addresses)) == 3
    assert device.memory()[0] <= free - 16 * MIB
    if used_mb is not None:  # NVML counts what the benchmarks report
        assert (count_used_memory_mb() or 0) >= used_mb + 16
    for address in addresses:
        device.free(address)
    assert device.memory()[0] >= free - 8 * MIB  # the driver may keep a page


def test_running_out_of_memory_is_recognised_and_harms_nothing(device: Device) -> None:
    with pytest.raises(EngineMemoryError, match="out of memory"):
        device.allocate(device.memory()[1] * 2)
    device.free(device.allocate(MIB))


def test_copies_return_what_was_sent(buffers: Buffers) -> None:
    for seed in range(3):
        content = make_bytes(buffers.num_bytes, seed)
        np.testing.assert_array_equal(buffers.exchange(content), content)


def test_streams_and_threads_do_not_mix_their_copies(device: Device) -> None:
    every = [Buffers(device, MIB + number) for number in range(4)]
    failures: list[str] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                content = make_bytes(every[number].num_bytes, 100 * number + turn)
                if not np.array_equal(every[number].exchange(content), content):
                    failures.append(f"stream {number}, turn {turn}")
        except EngineError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(every))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for buffers in every:
        buffers.free()
    assert failures == []


def test_work_is_timed_and_its_errors_are_raised(buffers: Buffers) -> None:
    buffers.exchange(make_bytes(buffers.num_bytes))
    assert 0 < buffers.device.time_ms(buffers.stream, buffers.download) < 10_000
    with pytest.raises(ZeroDivisionError):
        buffers.device.time_ms(buffers.stream, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    content = make_bytes(buffers.num_bytes, 1)
    np.testing.assert_array_equal(buffers.exchange(content), content)


def test_a_graph_runs_only_when_it_is_launched(buffers: Buffers) -> None:
    device = buffers.device
    if not device.supports_graphs:
        with pytest.raises(EngineError, match="no stream capture"):
            device.capture(buffers.stream, buffers.download)
        return
    for seed in (0, 1):
        content = buffers.exchange(make_bytes(buffers.num_bytes, seed))
        buffers.target[:] = 0
        graph = device.capture(buffers.stream, buffers.download)
        assert not buffers.target.any()
        device.launch(graph, buffers.stream)
        device.synchronize(buffers.stream)
        np.testing.assert_array_equal(buffers.target, content)
        device.free_graph(graph)


def test_a_broken_capture_leaves_the_stream_usable(buffers: Buffers) -> None:
    device = buffers.device
    if not device.supports_graphs:
        pytest.skip(f"{device.package} captures no graphs")
    with pytest.raises(EngineError, match="CAPTURE"):
        device.capture(buffers.stream, lambda: device.synchronize(buffers.stream))
    with pytest.raises(ZeroDivisionError):
        device.capture(buffers.stream, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    content = make_bytes(buffers.num_bytes)
    np.testing.assert_array_equal(buffers.exchange(content), content)


def test_a_closed_device_is_refused(device: Device) -> None:
    device.close()
    with pytest.raises(EngineError, match="closed"):
        device.memory()
