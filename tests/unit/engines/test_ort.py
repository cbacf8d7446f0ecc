"""ONNX Runtime: threads, and CUDA with a stand-in."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.fakes.bundle import write_bundle, write_model
from tests.fakes.machine import set_gpus
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export import verify
from wavepaint.export.cases import verification_cases
from wavepaint.export.verify import make_suite, require_passed, summarise, verify_model
from wavepaint.runtime.engines import ort, registry, trust
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import find_runnable, open_session

TASKS = Path("/proc/self/task")
IMAGE, MASK = np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 1, 8, 8), np.float32)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


class OnCpu:
    """ONNX Runtime's binding of tensors on a GPU, which binds them on the CPU."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def bind_output(self, name: str, device: str, number: int) -> None:
        assert (device, number) == ("cuda", 0)
        self.real.bind_output(name, "cpu", 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Cuda:
    """A stand-in for ONNX Runtime with CUDA that computes on the CPU.

    Attributes:
        options: Options of the CUDA provider for each session on it.
        wrong_model: A model that sessions run in place of the given one; None runs the given one.
        fails: Whether sessions fall back to the CPU.
    """

    def __init__(self) -> None:
        self.options: list[dict[str, str]] = []
        self.wrong_model: Path | None = None
        self.fails = False
        self.real = onnxruntime.InferenceSession

    def open(self, path: str, options: Any, providers: list[Any]) -> Any:
        if providers == ["CPUExecutionProvider"]:
            return self.real(path, options, providers=providers)
        ((name, chosen),) = providers
        self.options.append(chosen)
        real = self.real(str(self.wrong_model or path), options, providers=["CPUExecutionProvider"])
        return SimpleNamespace(
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
            get_providers=lambda: ["CPUExecutionProvider"] if self.fails else [name, "CPUExecutionProvider"],
            run=real.run,
            disable_fallback=real.disable_fallback,
            io_binding=lambda: OnCpu(real.io_binding()),
            run_with_iobinding=lambda binding, run_options: real.run_with_iobinding(binding.real, run_options),
        )


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cuda:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    stand_in = Cuda()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", stand_in.open)
    set_gpus(monkeypatch, Gpu("Simulated GPU", "sm90", 80_000))
    return stand_in


@pytest.mark.skipif(not TASKS.exists(), reason="needs /proc to count threads")
@pytest.mark.parametrize(
    ("threads", "streams", "pool"), [(1, 1, 0), (3, 1, 2), (8, 4, 4), (4, 4, 0), (2, 4, 0), (1, 4, 0)]
)
def test_pool_and_callers_have_the_requested_number_of_threads(
    bundle: Bundle, threads: int, streams: int, pool: int
) -> None:
    model = bundle.get_model(bundle.find_artifact("onnx"))
    OrtSession(model, threads=1).close()  # starts the threads of the process
    before = len([*TASKS.iterdir()])
    with OrtSession(model, threads=threads, streams=streams):
        assert len([*TASKS.iterdir()]) - before == pool
    assert pool + min(threads, streams) == threads


@pytest.mark.parametrize(("threads", "streams", "at_once"), [(8, 4, 4), (2, 4, 2), (1, 4, 1), (None, 3, 3)])
def test_streams_and_threads_limit_the_concurrent_runs(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, threads: int | None, streams: int, at_once: int
) -> None:
    monkeypatch.setattr(ort, "count_cores", lambda: 16)
    lock, full, running, most = threading.Lock(), threading.Event(), [0], [0]

    def run(names: list[str], inputs: Any) -> list[Any]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            if running[0] == at_once:
                full.set()
        full.wait(10)
        with lock:
            running[0] -= 1
        return [inputs["image"]]

    with OrtSession(bundle.get_model(bundle.find_artifact("onnx")), threads=threads, streams=streams) as session:
        session._session = SimpleNamespace(run=run)
        callers = [threading.Thread(target=session.run, args=(IMAGE, MASK)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert most == [at_once]


def test_cuda_computes_float32_exactly_and_reproducibly(bundle: Bundle, cuda: Cuda) -> None:
    with open_session(bundle, engine="ort-cuda", precision="float32") as session:
        assert session.device == "Simulated GPU"
    assert cuda.options == [{"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}]


def test_cuda_loads_its_libraries_silently(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[str] = []
    ort._prepare_cuda.cache_clear()
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: (loaded.append("CUDA"), print("Failed to load cuFFT")))
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", loaded.append)
    for _ in range(2):
        open_session(bundle, engine="ort-cuda", precision="float32").close()
    assert loaded == ["CUDA", 4]
    assert capsys.readouterr().out == ""


def test_cuda_times_its_parts(bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    make_value = onnxruntime.OrtValue.ortvalue_from_numpy

    def make_on_cpu(tensor: np.ndarray, device: str, number: int) -> Any:
        assert (device, number) == ("cuda", 0)
        return make_value(tensor, "cpu", 0)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", staticmethod(make_on_cpu))
    with open_session(bundle, engine="ort-cuda", precision="float32") as session:
        parts = session.time_parts(IMAGE, MASK, num_runs=2, repeats=3)
        with pytest.raises(EngineError, match="image has dtype"):
            session.time_parts(IMAGE.astype(np.float64), MASK)
    assert len(parts) == 2
    assert all(milliseconds > 0 for part in parts for milliseconds in part)
    with open_session(bundle, engine="ort-cpu", precision="float32") as session:
        assert session.time_parts(IMAGE, MASK) == []


def test_cuda_is_runnable_only_with_a_gpu(bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bundle.get_model(bundle.find_artifact("onnx", "float16"))
    assert ExecutionConfig("ort-cuda", model, "float16") in find_runnable(model)
    set_gpus(monkeypatch)
    assert "ort-cuda" not in [execution.engine for execution in find_runnable(model)]


def test_auto_compares_an_unverified_gpu_session_once(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    check = trust.check_session
    monkeypatch.setattr(
        trust, "check_session", lambda session, model: compared.append(session.precision) or check(session, model)
    )
    for _ in range(2):
        with open_session(bundle) as session:
            assert session.engine.endswith("CUDA")
            assert session.precision == "float16"
    assert compared == ["float16"]


def test_auto_skips_a_gpu_with_wrong_results(bundle: Bundle, cuda: Cuda, tmp_path: Path) -> None:
    cuda.wrong_model = tmp_path / "wrong.onnx"
    write_model(cuda.wrong_model, scale=1.5)
    for _ in range(2):  # the second time the result is cached
        with open_session(bundle) as session:
            assert session.engine.endswith("CPU")
    with pytest.raises(EngineError, match=r"CUDA differs from model.onnx in .*PSNR inside the hole"):
        open_session(bundle, engine="ort-cuda")
    with open_session(bundle, engine="ort-cuda", precision="float32") as session:  # a named engine is not skipped
        assert session.engine.endswith("CUDA")


def test_auto_uses_a_gpu_unchecked_if_no_engine_can_compare(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "can_compare", lambda: False)
    with open_session(bundle) as session:
        assert session.engine.endswith("CUDA")


def test_verification_passes_although_cuda_does_not_load(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "verification_cases", lambda multiple, **options: verification_cases(multiple)[:2])
    cuda.fails = True
    suite = make_suite(8, lambda image, mask: image, "nothing")
    reports = verify_model(bundle.get_model(bundle.find_artifact("onnx", "float32")), suite)
    (noted,) = [found for found in reports if registry.find_engine(found) == "ort-cuda"]
    assert "fell back" in noted["error"]
    require_passed(noted)
    assert noted not in summarise(reports)
