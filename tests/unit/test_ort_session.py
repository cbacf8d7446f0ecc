"""ONNX Runtime: its threads, and CUDA where a stand-in has it."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.fakes.bundle import write_bundle, write_model
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export import verify
from wavepaint.export.cases import verification_cases
from wavepaint.export.verify import make_suite, require_passed, summarise, verify_artifact
from wavepaint.runtime.engines import comparison
from wavepaint.runtime.engines import ort as ort_session
from wavepaint.runtime.engines import registry as engines
from wavepaint.runtime.engines import trust as checks
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import ExecutionConfig, find_runnable, open_session

TASKS = Path("/proc/self/task")
IMAGE, MASK = np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 1, 8, 8), np.float32)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


class Cuda:
    """Stands in for ONNX Runtime with CUDA; the CPU computes.

    Attributes:
        options: Of the CUDA provider, for each session that was opened on it.
        wrong_model: What its sessions run in place of what they are given; None for that itself.
        fails: Whether it falls back to the CPU.
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
        )


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cuda:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    stand_in = Cuda()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", stand_in.open)
    for module in (ort_session, engines):
        monkeypatch.setattr(module, "find_gpus", lambda: [Gpu("Simulated GPU", "sm90", 80_000)])
    return stand_in


@pytest.mark.skipif(not TASKS.exists(), reason="needs /proc to count threads")
@pytest.mark.parametrize(
    ("threads", "streams", "pool"), [(1, 1, 0), (3, 1, 2), (8, 4, 4), (4, 4, 0), (2, 4, 0), (1, 4, 0)]
)
def test_pool_and_callers_together_are_the_threads_that_were_asked_for(
    bundle: Bundle, threads: int, streams: int, pool: int
) -> None:
    model = bundle.folder / "model.onnx"
    OrtSession(model, threads=1).close()  # starts what belongs to the process
    before = len([*TASKS.iterdir()])
    with OrtSession(model, threads=threads, streams=streams):
        assert len([*TASKS.iterdir()]) - before == pool
    assert pool + min(threads, streams) == threads


@pytest.mark.parametrize(("threads", "streams", "at_once"), [(8, 4, 4), (2, 4, 2), (1, 4, 1), (None, 3, 3)])
def test_no_more_runs_go_on_at_once_than_there_are_streams_and_threads(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, threads: int | None, streams: int, at_once: int
) -> None:
    monkeypatch.setattr(ort_session, "count_cores", lambda: 16)
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

    with OrtSession(bundle.folder / "model.onnx", threads=threads, streams=streams) as session:
        session._session = SimpleNamespace(run=run)
        callers = [threading.Thread(target=session.run, args=(IMAGE, MASK)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert most == [at_once]


def test_float32_on_cuda_is_float32_by_algorithms_that_do_not_change(bundle: Bundle, cuda: Cuda) -> None:
    with open_session(bundle, engine="ort-cuda", precision="float32") as session:
        assert session.device == "Simulated GPU"
    assert cuda.options == [{"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}]


def test_cuda_is_verified_where_there_is_a_gpu(bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bundle.find_artifact("onnx", "float16")
    assert ExecutionConfig("ort-cuda", model, "float16") in find_runnable(model)
    monkeypatch.setattr(ort_session, "find_gpus", list)
    assert "ort-cuda" not in [execution.engine for execution in find_runnable(model)]


def test_auto_compares_what_nobody_verified_on_this_gpu_once(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    check = comparison.check_session
    monkeypatch.setattr(
        comparison, "check_session", lambda session, model: compared.append(session.precision) or check(session, model)
    )
    for _ in range(2):
        with open_session(bundle) as session:
            assert session.engine.endswith("CUDA")
            assert session.precision == "float16"
    assert compared == ["float16"]


def test_auto_does_not_take_a_gpu_that_computes_something_else(bundle: Bundle, cuda: Cuda, tmp_path: Path) -> None:
    cuda.wrong_model = tmp_path / "wrong.onnx"
    write_model(cuda.wrong_model, scale=1.5)
    for _ in range(2):  # the second time it is known
        with open_session(bundle) as session:
            assert session.engine.endswith("CPU")
    with pytest.raises(EngineError, match=r"CUDA differs from model.onnx in .*PSNR inside the hole"):
        open_session(bundle, engine="ort-cuda")
    with open_session(bundle, engine="ort-cuda", precision="float32") as session:  # a person who asks for it gets it
        assert session.engine.endswith("CUDA")


def test_auto_takes_a_gpu_as_it_is_where_nothing_can_be_compared(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "can_compare", lambda: False)
    with open_session(bundle) as session:
        assert session.engine.endswith("CUDA")


def test_cuda_that_does_not_load_is_noted_and_fails_no_verification(
    bundle: Bundle, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "verification_cases", lambda multiple: verification_cases(multiple)[:2])
    cuda.fails = True
    suite = make_suite(8, lambda image, mask: image, "nothing")
    reports = verify_artifact(bundle.folder, bundle.find_artifact("onnx", "float32"), 8, "symmetric", suite)
    (noted,) = [found for found in reports if checks.find_engine(found) == "ort-cuda"]
    assert "fell back" in noted["error"]
    require_passed(noted)
    assert noted not in summarise(reports)
