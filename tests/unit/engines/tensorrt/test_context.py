"""Stream contexts: what they cache for each size, captured graphs, and memory that runs out."""

import numpy as np
import pytest

from tests.fakes.machine import Machine
from tests.unit.engines.tensorrt.batches import make_batch
from tests.unit.engines.tensorrt.conftest import Open
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt import context as stream_context


def test_a_cached_size_allocates_nothing(open_plan: Open, machine: Machine) -> None:
    session = open_plan()
    sizes = [(1, 64, 64), (1, 16, 16), (2, 32, 32)]
    for size in sizes:
        session.run(*make_batch(*size))
    before = {name: machine.gpu.count(name) for name in ("allocate", "allocate_pinned", "free")}
    for size in sizes * 3:
        session.run(*make_batch(*size, seed=1))
    assert {name: machine.gpu.count(name) for name in before} == before
    assert len(machine.trt.contexts) == 3  # one thread uses one stream context


def test_each_size_is_captured_once_and_replayed(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    session = open_plan(streams=1)
    for turn in range(4):
        for size in [(1, 64, 64), (1, 16, 16)]:
            batch = make_batch(*size, seed=turn)
            np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))
    assert machine.gpu.count("capture") == 2
    assert machine.gpu.count("launch") == 6
    assert machine.gpu.count("execute") == 2 + 2  # first runs and captures
    assert session.graph_problem == ""


def test_capturing_stops_after_a_failure(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    machine.trt.fails["capture"] = "a layer cannot be captured"
    session = open_plan()
    for size in [(1, 64, 64), (1, 16, 16)] * 3:
        batch = make_batch(*size)
        np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))
    assert machine.gpu.count("capture") == 1
    assert "a layer cannot be captured" in session.graph_problem


def test_a_device_without_graphs_captures_none(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    machine.supports_graphs = False
    session = open_plan()
    for seed in range(3):
        batch = make_batch(1, 16, 16, seed=seed)
        np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))
    assert machine.gpu.count("capture") == 0


def test_graphs_can_be_turned_off_in_both_libraries(open_plan: Open, machine: Machine) -> None:
    for library in ("tensorrt", "tensorrt-rtx"):
        session = open_plan(library=library, graphs=False)
        for _ in range(3):
            session.run(*make_batch(1, 16, 16))
    assert machine.gpu.count("capture") == 0
    ((graphs, _),) = machine.trt.strategies
    assert graphs is machine.trt.CudaGraphStrategy.DISABLED


def test_tensorrt_rtx_reports_that_it_cannot_capture(open_plan: Open, machine: Machine) -> None:
    machine.trt.fails["is_stream_capturable"] = "a layer allocates"
    for graphs in (True, False):
        session = open_plan(library="tensorrt-rtx", graphs=graphs)
        session.run(*make_batch(1, 16, 16))
        assert ("cannot capture what model.plan runs" in session.graph_problem) == graphs


def test_the_number_of_cached_sizes_is_limited(
    open_plan: Open, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_context, "MAX_SIZES", 2)
    session = open_plan(streams=1)
    for side in (64, 56, 48, 64, 48, 40):
        session.run(*make_batch(1, side, side))
        assert len(machine.trt.contexts) <= 2
    assert len(machine.gpu.blocks) == 2 * 3 + 1  # three tensors for each size, and one scratch memory
    created = machine.gpu.count("profile")
    session.run(*make_batch(1, 48, 48))  # created before 64 but used after it, so it is still cached
    assert machine.gpu.count("profile") == created


def test_all_sizes_share_one_scratch_memory_that_grows(open_plan: Open, machine: Machine) -> None:
    session = open_plan(streams=1)
    for side in (16, 64, 32, 64, 16):
        session.run(*make_batch(1, side, side))
        session.run(*make_batch(1, side, side))
    scratch = [entry[1] for entry in machine.gpu.log if entry[0] == "allocate" and entry[1] in (8 * 16**2, 8 * 64**2)]
    assert scratch == [8 * 16**2, 8 * 64**2]


def test_a_smaller_batch_runs_after_one_that_needed_too_much_memory(
    open_plan: Open, machine: Machine, expected: OrtSession
) -> None:
    machine.gpu.num_bytes = 200_000
    session = open_plan(streams=1)
    small = make_batch(1, 32, 32)
    for _ in range(2):
        with pytest.raises(EngineMemoryError, match=r"too little memory.*\(4, 3, 128, 128\).*OUT_OF_MEMORY") as caught:
            session.run(*make_batch(4, 128, 128))
        assert "Smaller images or batches" in str(caught.value)
        np.testing.assert_array_equal(session.run(*small), expected.run(*small))


def test_cached_sizes_are_freed_before_memory_runs_out(open_plan: Open, machine: Machine) -> None:
    machine.gpu.num_bytes = 300_000
    session = open_plan()
    list(session.run_many([make_batch(1, 64, 64)] * 4))
    assert machine.gpu.used() == 2 * 4096 * (7 * 4 + 8)  # both stream contexts cache the size
    for side in (80, 48, 64, 80):
        session.run(*make_batch(1, side, side))


def test_tensorrts_own_out_of_memory_error_is_recognised(open_plan: Open, machine: Machine) -> None:
    session = open_plan()
    machine.trt.fails["execute_async_v3"] = "[defaultAllocator.cpp::allocate::31] Cuda Runtime (out of memory)"
    with pytest.raises(EngineMemoryError, match="out of memory"):
        session.run(*make_batch(1, 16, 16))
    machine.trt.fails = {"deserialize": "Requested amount of GPU memory could not be allocated. OutOfMemory"}
    with pytest.raises(EngineMemoryError):
        open_plan()


@pytest.mark.parametrize("method", ["execute_async_v3", "create_execution_context", "set_optimization_profile_async"])
def test_a_context_is_created_again_after_a_failure(
    open_plan: Open, machine: Machine, expected: OrtSession, method: str
) -> None:
    session = open_plan()
    batch = make_batch(1, 16, 16)
    machine.trt.fails[method] = "something broke"
    with pytest.raises(EngineError, match=r"TensorRT 11.0 .*: something broke"):
        session.run(*batch)
    machine.trt.fails.clear()
    for _ in range(3):
        np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))


@pytest.mark.parametrize("call", ["copy_to_device", "copy_to_host", "allocate_pinned"])
def test_a_failure_of_cuda_leaves_nothing_allocated(open_plan: Open, machine: Machine, call: str) -> None:
    session = open_plan()
    machine.gpu.fails[call] = EngineError(f"{call}: CUDA_ERROR_UNKNOWN")
    with pytest.raises(EngineError, match="CUDA_ERROR_UNKNOWN"):
        session.run(*make_batch(1, 16, 16))
    assert len(machine.gpu.blocks) <= 1  # the scratch memory
    assert not machine.gpu.pinned
    machine.gpu.fails.clear()
    session.run(*make_batch(1, 16, 16))
