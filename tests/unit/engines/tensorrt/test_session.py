"""TensorRT's session on a simulated GPU: it gives ONNX Runtime's results bit for bit, and never misuses CUDA.

The simulation (tests/fakes) runs enqueued work only when something waits for it, and every misuse is an error.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.bundle import make_model
from tests.fakes.machine import Machine
from tests.unit.engines.tensorrt.batches import SMALL, WIDE, make_batch, make_bytes
from tests.unit.engines.tensorrt.conftest import Open
from wavepaint.contract import Bundle
from wavepaint.errors import ConfigError, EngineError
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt import session as session_module
from wavepaint.runtime.engines.tensorrt.libraries import get_library
from wavepaint.runtime.engines.tensorrt.plan import PlanRefusedError
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession


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


def test_a_session_on_a_broken_gpu_can_be_closed(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    session = open_plan()
    machine.gpu.fails["synchronize"] = EngineError("cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS")
    with pytest.raises(EngineError, match="ILLEGAL_ADDRESS"):
        session.run(*make_batch(1, 16, 16))
    with pytest.raises(EngineError, match="ILLEGAL_ADDRESS"):
        list(session.run_many([make_batch(1, 16, 16)] * 3))
    session.close()


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


def test_inputs_that_are_not_arrays_are_refused(open_plan: Open) -> None:
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


def test_invalid_options_are_refused(open_plan: Open, machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="streams is 0"):
        open_plan(streams=0)
    with pytest.raises(EngineError, match="nowhere.plan cannot be read: No such file"):
        TensorRtSession(make_model(tmp_path / "nowhere.plan", kind="tensorrt"), get_library("tensorrt"))
    machine.gpu.fails["create_stream"] = EngineError("cuStreamCreate: CUDA_ERROR_UNKNOWN")
    with pytest.raises(EngineError, match="cuStreamCreate"):
        open_plan()
    assert all(one.is_closed for one in machine.devices)
