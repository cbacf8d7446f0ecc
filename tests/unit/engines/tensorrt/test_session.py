"""TensorRT's session on a simulated GPU: it gives ONNX Runtime's results bit for bit, and never misuses CUDA.

The simulation (tests/fakes) runs enqueued work only when something waits for it, and every misuse is an error.
"""

import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.bundle import make_model
from tests.fakes.machine import Machine
from tests.fakes.tensorrt import Kernels, write_plan
from wavepaint.contract import Bundle, IoDtype, Precision
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError, WavePaintWarning
from wavepaint.runtime.engines.cuda.open import open_device
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt import context as stream_context
from wavepaint.runtime.engines.tensorrt import session as session_module
from wavepaint.runtime.engines.tensorrt.library import Library, get_library
from wavepaint.runtime.engines.tensorrt.plan import PlanRefusedError
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

Batch = tuple[np.ndarray, np.ndarray]
Open = Callable[..., TensorRtSession]

WIDE = ((1, 8, 8), (1, 64, 64), (4, 128, 128))
SMALL = ((1, 8, 8), (1, 16, 16), (2, 40, 40))


def make_batch(batch: int, height: int, width: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    image = rng.random((batch, 3, height, width), dtype=np.float32)
    return image, (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)


def make_bytes(batch: int, height: int, width: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    shapes = ((batch, height, width, 3), (batch, height, width, 1))
    image, mask = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)
    return image, mask


@pytest.fixture
def open_plan(machine: Machine, full_bundle: Bundle, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a plan of a model. After the test nothing may be left on the GPU."""
    opened = []

    def open_(
        onnx: Path | None = None,
        *,
        profiles: Any = (WIDE,),
        plan: dict[str, Any] | None = None,
        library: Library = "tensorrt",
        io_dtype: IoDtype = "float32",
        precision: Precision = "float32",
        **options: Any,
    ) -> TensorRtSession:
        path = tmp_path / "model.plan"
        write_plan(path, onnx or full_bundle.folder / "model.onnx", io_dtype, profiles, plan or {})
        model = make_model(path, kind=library, precision=precision, io_dtype=io_dtype)
        opened.append(TensorRtSession(model, get_library(library), **options))
        return opened[-1]

    yield open_
    for session in opened:
        session.close()
        session.close()
    opened.clear()
    if machine.trt.contexts:  # only a reference cycle may keep them
        gc.collect()
    machine.require_all_freed()


@pytest.fixture
def expected(full_bundle: Bundle) -> Iterator[OrtSession]:
    with OrtSession(make_model(full_bundle.folder / "model.onnx"), threads=1) as session:
        yield session


def test_results_equal_onnx_runtimes_for_all_sizes_and_profiles(open_plan: Open, expected: OrtSession) -> None:
    session = open_plan(profiles=(WIDE, SMALL))
    for seed, size in enumerate([(1, 64, 64), (2, 16, 24), (1, 64, 64), (4, 128, 8), (1, 64, 64), (2, 16, 24)] * 2):
        batch = make_batch(*size, seed=seed)
        np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))


@pytest.mark.parametrize("name", ["model.uint8.onnx", "model.fp16.onnx", "model.fp16.uint8.onnx"])
def test_every_io_dtype_and_precision_runs(open_plan: Open, full_bundle: Bundle, name: str) -> None:
    io_dtype: Any = "uint8" if "uint8" in name else "float32"
    onnx = full_bundle.folder / name
    session = open_plan(onnx, io_dtype=io_dtype, precision="float16")
    assert session.precision == "float16"
    with OrtSession(make_model(onnx, io_dtype=io_dtype), threads=1) as expected:
        for size in [(1, 64, 32), (2, 16, 24), (1, 64, 32)] + [(1, 13, 9)] * (io_dtype == "uint8"):
            batch = (make_bytes if io_dtype == "uint8" else make_batch)(*size)
            np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))


@pytest.mark.parametrize("library", ["tensorrt", "tensorrt-rtx"])
def test_the_session_describes_what_runs(open_plan: Open, library: Any, machine: Machine) -> None:
    session = open_plan(library=library)
    assert session.engine == f"TensorRT{'-RTX' if library == 'tensorrt-rtx' else ''} 11.0 Simulated GPU"
    assert (session.io_dtype, session.precision, session.rebuilt_because) == ("float32", "float32", "")
    for _ in range(3):
        session.run(*make_batch(1, 16, 16))
    assert machine.gpu.count("capture") == (library == "tensorrt")  # TensorRT-RTX captures graphs itself


def test_the_nearest_profile_is_chosen(open_plan: Open, machine: Machine) -> None:
    session = open_plan(profiles=(WIDE, SMALL))
    for size in [(1, 16, 16), (1, 64, 64), (1, 40, 40), (2, 24, 16)]:
        session.run(*make_batch(*size))
    assert [entry[1] for entry in machine.gpu.log if entry[0] == "profile"] == [1, 0, 0, 1]


def test_a_size_outside_every_profile_names_the_fix(open_plan: Open) -> None:
    session = open_plan(profiles=(WIDE, SMALL))
    with pytest.raises(EngineError) as caught:
        session.run(*make_batch(1, 16, 200))
    assert "1x200x16 is outside every profile of model.plan" in str(caught.value)
    assert "1x8x8 to 4x128x128; 1x8x8 to 2x40x40" in str(caught.value)
    assert "--engine tensorrt --shapes 8x8,64x64,200x128 --batches 1,1,4" in str(caught.value)
    with pytest.raises(EngineError, match="--batches 1,1,5"):
        session.run(*make_batch(5, 16, 16))
    assert session.takes(4, 128, 128)
    assert not session.takes(4, 128, 136)
    session.run(*make_batch(1, 16, 16))


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


@pytest.mark.parametrize("graphs", [True, False])
def test_copies_and_computing_are_timed_separately(
    open_plan: Open, machine: Machine, expected: OrtSession, graphs: bool
) -> None:
    session = open_plan(streams=1, graphs=graphs)
    batch = make_batch(2, 16, 24)
    assert len(session.time_parts(*batch, num_runs=5)) == 5
    assert machine.gpu.count("time") == 3 * 5
    # The first two runs of a size prepare and capture it.
    assert machine.gpu.count("copy_to_device") == 2 * (2 + 5)
    assert machine.gpu.count("copy_to_host") == 2 + 5
    assert machine.gpu.count("launch") == (1 + 5 if graphs else 0)
    before = machine.gpu.count("execute") + machine.gpu.count("launch")
    assert len(session.time_parts(*batch, repeats=6)) == 1
    assert machine.gpu.count("execute") + machine.gpu.count("launch") - before == 2 + 6
    np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))
    with pytest.raises(EngineError, match="must be multiples of 8"):
        session.time_parts(*make_batch(1, 15, 16))


def test_a_failed_timing_frees_its_stream_context(open_plan: Open, machine: Machine) -> None:
    session = open_plan(streams=1)
    machine.trt.fails["execute_async_v3"] = "a kernel failed"
    with pytest.raises(EngineError, match="a kernel failed"):
        session.time_parts(*make_batch(1, 16, 16), num_runs=2)
    machine.trt.fails.clear()
    session.run(*make_batch(1, 16, 16))


def test_graphs_can_be_turned_off_in_both_libraries(open_plan: Open, machine: Machine) -> None:
    for library in ("tensorrt", "tensorrt-rtx"):
        session = open_plan(library=library, graphs=False)
        for _ in range(3):
            session.run(*make_batch(1, 16, 16))
    assert machine.gpu.count("capture") == 0
    ((graphs, _),) = machine.trt.strategies
    assert graphs is machine.trt.CudaGraphStrategy.DISABLED


def test_compiled_kernels_are_cached(
    open_plan: Open, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path))
    read: list[bytes] = []
    deserialize = Kernels.deserialize
    monkeypatch.setattr(
        Kernels, "deserialize", lambda kernels, content: read.append(content) or deserialize(kernels, content)
    )

    def run() -> Path:
        session = open_plan(library="tensorrt-rtx")
        session.run(*make_batch(1, 16, 16))
        session.close()
        (cached,) = (tmp_path / "plans").glob("*.tensorrt-rtx-11.0.kernels")
        return cached

    assert run().read_bytes() == b"11.0 kernels"
    assert read == []
    cached = run()
    assert read == [b"11.0 kernels"]
    cached.write_bytes(b"damaged")
    assert run().read_bytes() == b"11.0 kernels"
    monkeypatch.setenv("WAVEPAINT_CACHE", str(cached))  # no folder
    session = open_plan(library="tensorrt-rtx")
    with pytest.warns(WavePaintWarning, match="the next start compiles kernels again"):
        session.close()


def test_tensorrt_rtx_reports_that_it_cannot_capture(open_plan: Open, machine: Machine) -> None:
    machine.trt.fails["is_stream_capturable"] = "a layer allocates"
    for graphs in (True, False):
        session = open_plan(library="tensorrt-rtx", graphs=graphs)
        session.run(*make_batch(1, 16, 16))
        assert ("cannot capture what model.plan runs" in session.graph_problem) == graphs


@pytest.mark.parametrize("library", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_of_one_size_takes_no_other(open_plan: Open, library: Any, expected: OrtSession) -> None:
    session = open_plan(library=library, profiles=(((2, 16, 24),) * 3,))
    batch = make_batch(2, 16, 24)
    np.testing.assert_array_equal(session.run(*batch), expected.run(*batch))
    assert not session.takes(1, 16, 24)
    assert session.max_batch == 2


def test_tensorrt_rtx_runs_only_the_kernels_that_were_verified(open_plan: Open, machine: Machine) -> None:
    """By default it runs generic kernels until those for the shape are compiled."""
    open_plan(library="tensorrt-rtx").run(*make_batch(1, 16, 16))
    ((graphs, kernels),) = machine.trt.strategies
    assert graphs is machine.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    assert kernels is machine.trt.DynamicShapesKernelSpecializationStrategy.EAGER


def test_tensorrt_10_0_gets_scratch_memory_through_its_own_api(open_plan: Open, machine: Machine) -> None:
    machine.trt.__version__ = "10.0.1"
    open_plan(plan={"made_by": "10.0.1"}).run(*make_batch(1, 16, 16))


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


def test_a_session_on_a_broken_gpu_can_be_closed(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    session = open_plan()
    machine.gpu.fails["synchronize"] = EngineError("cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS")
    with pytest.raises(EngineError, match="ILLEGAL_ADDRESS"):
        session.run(*make_batch(1, 16, 16))
    with pytest.raises(EngineError, match="ILLEGAL_ADDRESS"):
        list(session.run_many([make_batch(1, 16, 16)] * 3))
    session.close()


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_each_of_eight_threads_gets_its_own_results(
    open_plan: Open, machine: Machine, expected: OrtSession, streams: int
) -> None:
    session = open_plan(streams=streams)
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(6):
            batch = make_batch(1, 8 * (1 + (number + turn) % 3), 16, seed=100 * number + turn)
            if not np.array_equal(session.run(*batch), expected.run(*batch)):
                wrong.append(f"{number}, {turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert machine.gpu.count("copy_to_host") == 8 * 6


def test_run_many_keeps_the_order_and_overlaps_batches(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    session = open_plan()
    batches = [make_batch(1, 16, 16 + 8 * (k % 2), seed=k) for k in range(6)]
    results = list(session.run_many(iter(batches)))
    for batch, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result, expected.run(*batch))
    # The last call of each batch is its copy to the host. The next batch is submitted before the result is awaited.
    steps = [entry for entry in machine.gpu.log if entry[0] in ("copy_to_host", "synchronize")]
    assert [name for name, _ in steps][: 2 * 6] == ["copy_to_host", *["copy_to_host", "synchronize"] * 5, "synchronize"]
    assert len({stream for name, stream in steps if name == "copy_to_host"}) == 2


def test_run_many_reads_batches_only_as_needed(open_plan: Open) -> None:
    session = open_plan()
    read = []

    def batches() -> Iterator[Batch]:
        for k in range(10):
            read.append(k)
            yield make_batch(1, 16, 16)

    results = session.run_many(batches())
    next(results)
    assert read == [0, 1]
    session.run(*make_batch(1, 16, 16))  # a stream context is free between two results
    other = session.run_many(batches())
    next(other)
    next(results)
    results.close()
    other.close()
    assert len(list(session.run_many([make_batch(1, 16, 16)] * 3))) == 3


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_run_many_raises_after_the_results_before_the_failure(open_plan: Open, streams: int) -> None:
    session = open_plan(streams=streams)
    good = make_batch(1, 16, 16)
    results = session.run_many([good, good, make_batch(1, 16, 200), good])
    assert [next(results).shape, next(results).shape] == [good[0].shape] * 2
    with pytest.raises(EngineError, match="outside every profile"):
        next(results)

    def broken() -> Iterator[Batch]:
        yield good
        raise ValueError("the source broke")

    results = session.run_many(broken())
    next(results)
    with pytest.raises(ValueError, match="the source broke"):
        next(results)
    assert len(list(session.run_many([good] * 4))) == 4


def test_threads_in_run_many_never_deadlock(open_plan: Open) -> None:
    session = open_plan()
    counts: list[int] = []

    def work() -> None:
        counts.append(len(list(session.run_many([make_batch(1, 16, 16)] * 20))))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [20] * 4


def test_other_sessions_run_many_batches_one_by_one(expected: OrtSession) -> None:
    batches = [make_batch(1, 16, 16, seed=k) for k in range(3)]
    for batch, result in zip(batches, expected.run_many(batches), strict=True):
        np.testing.assert_array_equal(result, expected.run(*batch))


def test_closing_lets_the_current_run_end_first(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    session = open_plan()
    batches = [make_batch(1, 16, 16, seed=k) for k in range(2)]
    results = session.run_many(batches)
    next(results)
    session.close()
    assert not machine.devices[0].is_closed
    np.testing.assert_array_equal(next(results), expected.run(*batches[1]))
    assert machine.devices[0].is_closed
    with pytest.raises(EngineError, match="this session is closed"):
        session.run(*batches[0])


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        ({"made_by": "10.9"}, PlanRefusedError, r"refuses model.plan: .*version tag does not match"),
        ({"names": ["image", "mask", "out"]}, EngineError, r"'out': .*expected .*Export it again"),
        ({"names": ["image", "image_out"]}, EngineError, "expected"),
        ({"io_dtype": "float16"}, EngineError, "HALF.*expected"),
    ],
)
def test_a_refused_plan_leaves_nothing_on_the_gpu(
    open_plan: Open, machine: Machine, plan: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_plan(plan=plan)
    assert machine.devices[0].is_closed


def test_threads_that_use_a_closed_session_get_an_error(open_plan: Open, machine: Machine) -> None:
    session, errors = open_plan(), list[str]()

    def work() -> None:
        try:
            while True:
                list(session.run_many([make_batch(1, 16, 16)] * 3))
        except EngineError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    closing = [threading.Thread(target=session.close, daemon=True) for _ in range(3)]
    for thread in (*threads, *closing):
        thread.start()
    for thread in (*threads, *closing):
        thread.join(60)
    assert errors == ["this session is closed. Open another one."] * 6
    machine.require_all_freed()


def test_inputs_that_are_no_arrays_are_refused(open_plan: Open) -> None:
    image, mask = make_batch(1, 16, 16)
    session: Any = open_plan()
    for given, message in (((image.tolist(), mask), "image is a list"), ((image, None), "mask is a NoneType")):
        with pytest.raises(EngineError, match=f"{message}, expected a numpy array"):
            session.run(*given)


@pytest.mark.parametrize("library", ["tensorrt", "tensorrt-rtx"])
def test_a_stored_exception_keeps_nothing_on_the_gpu(open_plan: Open, machine: Machine, library: Any) -> None:
    errors = []
    with pytest.raises(EngineError, match="expected") as caught:
        open_plan(library=library, plan={"io_dtype": "float16"})
    errors.append(caught.value)
    machine.gpu.fails["create_stream"] = EngineError("cuStreamCreate: CUDA_ERROR_UNKNOWN")
    with pytest.raises(EngineError, match="cuStreamCreate") as caught:
        open_plan(library=library)
    errors.append(caught.value)
    machine.gpu.fails.clear()
    session = open_plan(library=library)
    for method in ("set_optimization_profile_async", "execute_async_v3"):
        machine.trt.fails = {method: "something broke"}
        with pytest.raises(EngineError, match="something broke") as caught:
            session.run(*make_batch(1, 16, 16))
        errors.append(caught.value)
    session.close()
    assert (len(machine.trt.contexts), len(machine.trt.engines), len(errors)) == (0, 0, 4)


def test_a_failed_start_frees_the_gpu(open_plan: Open, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "get_gpu_name", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_plan()
    machine.require_all_freed()


def test_kernels_that_cannot_be_cached_do_not_block_the_gpu(
    open_plan: Open, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "file"))
    session = open_plan(library="tensorrt-rtx")
    with warnings.catch_warnings(), pytest.raises(WavePaintWarning):
        warnings.simplefilter("error")
        session.close()
    machine.require_all_freed()
    assert not machine.trt.engines


def test_invalid_options_are_refused(open_plan: Open, machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="streams is 0"):
        open_plan(streams=0)
    with pytest.raises(EngineError, match="nowhere.plan cannot be read: No such file"):
        TensorRtSession(make_model(tmp_path / "nowhere.plan", kind="tensorrt"), get_library("tensorrt"))
    machine.gpu.fails["create_stream"] = EngineError("cuStreamCreate: CUDA_ERROR_UNKNOWN")
    with pytest.raises(EngineError, match="cuStreamCreate"):
        open_plan()
    assert all(one.is_closed for one in machine.devices)


def test_without_a_package_for_cuda_the_error_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    monkeypatch.setitem(__import__("sys").modules, "pycuda.driver", None)
    with pytest.raises(EngineError) as caught:
        open_device()
    assert 'pip install "cuda-bindings>=12.8"' in str(caught.value)
    assert 'pip install "wavepaint[pycuda]"' in str(caught.value)
    with pytest.raises(EngineError) as caught:
        open_device("pycuda")
    assert "cuda-bindings" not in str(caught.value)
