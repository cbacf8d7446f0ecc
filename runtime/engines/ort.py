"""ONNX Runtime on the CPU and, through CUDA, on NVIDIA GPUs."""

import contextlib
import functools
import importlib.metadata
import io
import itertools
import time
from threading import BoundedSemaphore
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
from wavepaint.contract import Model, Report
from wavepaint.errors import EngineError
from wavepaint.machine import count_cores
from wavepaint.optional import make_install_command, make_pip_command, require
from wavepaint.runtime.engines.engine import ExecutionConfig, OnnxEngine, OpenOptions
from wavepaint.runtime.engines.gpus import find_gpus, get_gpu_name
from wavepaint.runtime.engines.session import (
    CLOSED,
    GPU_BATCH,
    RunParts,
    Session,
    Tensor,
    check_threads,
    first_line,
    is_out_of_memory,
)

Device = Literal["cpu", "cuda"]

_PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_CUDA_OPTIONS = {
    # TensorFloat-32 keeps 10 of a float32's 23 bits of precision. ONNX Runtime switches it on by default.
    "use_tf32": "0",
    # HEURISTIC chooses a convolution's algorithm from its sizes, so every process rounds a photo in the same way. Up to
    # 1.19 EXHAUSTIVE, ONNX Runtime's default, times all algorithms on this machine, again for each new size, and holes
    # have many sizes. Since 1.20 DEFAULT means cuDNN's fallback, which is many times slower
    # (github.com/microsoft/onnxruntime/issues/22705).
    "cudnn_conv_algo_search": "HEURISTIC",
}


class _Ort(OnnxEngine):
    """ONNX Runtime on one device. It computes in the precision of the file."""

    label = "ONNX Runtime"
    module = "onnxruntime"
    device: ClassVar[Device]

    def is_named_in(self, report: Report) -> bool:
        is_on_gpu = report.get("engine", "").endswith("CUDA") or report.get("device", "CPU") not in ("CPU", "")
        return super().is_named_in(report) and is_on_gpu == self.is_on_gpu

    def require_usable(self, model: Model | None = None) -> None:
        _load(self.device)

    def find_runnable(self, model: Model) -> list[ExecutionConfig]:
        if not self.takes(model.artifact) or not self.is_installed():
            return []
        return [ExecutionConfig(self.name, model, model.artifact.precision)]

    def open_checked(self, execution: ExecutionConfig, options: OpenOptions) -> Session:
        artifact = execution.artifact
        if execution.arithmetic != artifact.precision:
            raise EngineError(
                f"ONNX Runtime computes {artifact.path} in the file's own {artifact.precision}, not in "
                f"{execution.arithmetic}."
            )
        return OrtSession(execution.model, device=self.device, threads=options.threads, streams=options.streams)


class OrtCpu(_Ort):
    """ONNX Runtime on the CPU."""

    name = "ort-cpu"
    device = "cpu"
    is_on_gpu = False
    fastest_first = (("float32", "float32"), ("float16", "float16"))


class OrtCuda(_Ort):
    """ONNX Runtime on an NVIDIA GPU."""

    name = "ort-cuda"
    device = "cuda"
    is_on_gpu = True
    may_fail_verification = True  # CUDA or cuDNN may be missing where the GPU is used through another engine
    fastest_first = (("float16", "float16"), ("float32", "float32"))

    def require_usable(self, model: Model | None = None) -> None:
        super().require_usable(model)
        if not find_gpus():
            raise EngineError("there is no NVIDIA driver or GPU here. With a GPU, install its driver.")

    def find_runnable(self, model: Model) -> list[ExecutionConfig]:
        found = super().find_runnable(model)
        return found if found and find_gpus() and not self.find_obstacle() else []


def _load(device: Device) -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        EngineError: It is not installed, or was built without the device. Its libraries may still fail to load.
    """
    ort = require("onnxruntime", extra="cpu" if device == "cpu" else "gpu")
    if _PROVIDERS[device] not in ort.get_available_providers():
        packages = find_packages()
        conflict = describe_conflict(packages) if "onnxruntime-gpu" in packages else ""
        raise EngineError(
            conflict
            or f"this ONNX Runtime {ort.__version__} has no CUDA. Replace it with: {_make_swap(packages, 'gpu')}"
        )
    return ort


_FATAL = 4
"""Severity of ONNX Runtime's log messages."""


@functools.cache
def _prepare_cuda(ort: ModuleType) -> None:
    """Load CUDA and cuDNN from their Python packages, where the system's loader does not look, and silence the log.

    A library that is not there may still be installed on the system. ONNX Runtime prints that it is missing, and its
    own error when a session opens tells more. Its log calls it an error whenever cuDNN refuses one form of a
    convolution, although it then takes another one; real failures are exceptions.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    ort.set_default_logger_severity(_FATAL)


def find_packages() -> list[str]:
    """Return the installed packages that contain the module ``onnxruntime``."""
    return sorted(set(importlib.metadata.packages_distributions().get("onnxruntime", [])))


def describe_conflict(packages: list[str]) -> str:
    """Return why two packages of ONNX Runtime do not work together, and the fix; empty for one or none."""
    if len(packages) < 2:
        return ""
    extra = "gpu" if "onnxruntime-gpu" in packages else "cpu"
    return (
        f"{' and '.join(packages)} are both installed and overwrite each other's files. Fix it with: "
        f"{_make_swap(packages, extra)}"
    )


def _make_swap(packages: list[str], extra: str) -> str:
    """Return the command that replaces packages by those of an extra."""
    return f"{make_pip_command('uninstall', '-y', *packages)} && {make_install_command(extra)}"


class OrtSession(Session):
    """An ONNX model in ONNX Runtime; see :class:`wavepaint.runtime.engines.session.Session`.

    Thread-safe. ONNX Runtime's thread pool belongs to the session: each run computes in its caller's thread, and all
    runs share the pool. The pool therefore has ``threads`` minus one thread for each stream, and runs beyond
    ``streams`` or ``threads`` wait for their turn. A single run uses its caller's thread and the whole pool. Measured
    on two cores with all streams busy: 8 threads that ran or were ready with ``threads=8, streams=4``, 2 with
    ``threads=2, streams=4``, and 1 with ``threads=1, streams=4``.

    Args:
        model: An ONNX model.
        device: "cpu", or "cuda" for the first NVIDIA GPU.
        threads: CPU threads of all streams together, including the callers'; None uses every core.
        streams: Number of concurrent runs, each from a thread of the caller.

    Raises:
        EngineError: ONNX Runtime is not installed, cannot read the file or use the device, or the file breaks the
            contract.
    """

    memory_factor = 2.0  # 1.6 to 1.8 for the default model and up to 2.0 for others at 512 to 1536 pixels a side

    def __init__(self, model: Model, *, device: Device = "cpu", threads: int | None = None, streams: int = 1) -> None:
        super().__init__(model)
        path, provider = model.path, _PROVIDERS[device]
        ort = _load(device)
        if device == "cuda":
            _prepare_cuda(ort)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        check_threads(threads)
        if threads is None and streams > 1:
            threads = count_cores()
        if threads is not None:
            options.intra_op_num_threads = max(threads - streams, 0) + 1  # the pool's threads, and one run's caller
        providers: list[Any] = [provider if device == "cpu" else (provider, _CUDA_OPTIONS)]
        try:
            session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise EngineError(f"ONNX Runtime {ort.__version__} cannot load {path}: {first_line(error)}") from error
        found = ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
        expected = ([*self.task.inputs], [self.task.output])
        if found != expected:
            raise EngineError(f"{path} has inputs and outputs {found}, expected {expected}. Export it again.")
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU silently
            raise EngineError(
                f"ONNX Runtime {ort.__version__} fell back from {provider} to {session.get_providers()[0]}: the GPU's "
                "driver, CUDA or cuDNN is missing or of another version. Run wp doctor to see what is installed."
            )
        session.disable_fallback()  # after an error on the GPU, a run would go on silently on the CPU
        self.device = "CPU" if device == "cpu" else get_gpu_name()
        self.engine = f"ONNX Runtime {ort.__version__} {device.upper()}"
        self.max_batch = 1 if device == "cpu" else GPU_BATCH
        self._ort, self._arena = ort, "cpu:0" if device == "cpu" else "gpu:0"
        self._session: Any = session
        self._turns = BoundedSemaphore(min(threads or streams, streams))

    def _is_open(self) -> bool:
        return self._session is not None

    def _infer(self, *tensors: Tensor) -> Tensor:
        session = self._take_session()
        with self._turns:
            try:
                output: Tensor = session.run([self.task.output], dict(zip(self.task.inputs, tensors, strict=True)))[0]
            except Exception as error:
                if is_out_of_memory(error):
                    self._free_memory(session)
                raise
            return output

    def _take_session(self) -> Any:
        """Return ONNX Runtime's session, which stays usable if another thread closes this one while a run waits."""
        session = self._session
        if session is None:
            raise EngineError(CLOSED)
        return session

    def time_parts(self, *tensors: Tensor, num_runs: int = 1, repeats: int = 1) -> list[RunParts]:
        if self.device == "CPU":
            return []
        with self._checked(*tensors), self._turns:
            return [self._time_run(tensors, repeats) for _ in range(num_runs)]

    def _time_run(self, tensors: tuple[Tensor, ...], repeats: int) -> RunParts:
        """Time a run by the processor's clock; each part ends when the GPU has finished."""
        session = self._take_session()
        binding = session.io_binding()
        unsynchronized = self._ort.RunOptions()
        unsynchronized.add_run_config_entry("disable_synchronize_execution_providers", "1")
        times = [time.perf_counter()]
        for name, tensor in zip(self.task.inputs, tensors, strict=True):
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(tensor, "cuda", 0))
        binding.synchronize_inputs()
        times.append(time.perf_counter())
        binding.bind_output(self.task.output, "cuda", 0)
        for _ in range(repeats):
            session.run_with_iobinding(binding, unsynchronized)
        binding.synchronize_outputs()
        times.append(time.perf_counter())
        binding.copy_outputs_to_cpu()
        times.append(time.perf_counter())
        copy_in_ms, compute_ms, copy_out_ms = (1e3 * (end - start) for start, end in itertools.pairwise(times))
        return RunParts(copy_in_ms, compute_ms / repeats, copy_out_ms)

    def _free_memory(self, session: Any) -> None:
        """Run on a small image with the option to give memory back.

        Otherwise the session keeps all memory that it ever took, also for a run that failed, and leaves none for
        smaller images.
        """
        options = self._ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", self._arena)
        with contextlib.suppress(Exception):
            session.run(None, {one.name: self._make_small(one) for one in session.get_inputs()}, options)

    def _make_small(self, one: Any) -> Tensor:
        """Return a tensor of zeros for an input, one image of the smallest size."""
        sides = [side if isinstance(side, int) else self.size_multiple for side in one.shape[1:]]
        return np.zeros([1, *sides], np.uint8 if "uint8" in one.type else np.float32)

    def close(self) -> None:
        """Free the model."""
        self._session = None
