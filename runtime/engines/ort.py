"""ONNX Runtime on the CPU and, by CUDA, on NVIDIA GPUs."""

import importlib.metadata
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Literal

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, IoDtype
from wavepaint.errors import EngineError
from wavepaint.machine import count_cores
from wavepaint.optional import require
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.session import GPU_BATCH, Session, Tensor, check_threads, first_line

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_CUDA_OPTIONS = {
    # TensorFloat-32 keeps 10 of a float32's 23 bits of precision. ONNX Runtime switches it on.
    "use_tf32": "0",
    # HEURISTIC chooses a convolution's algorithm by its sizes alone: the same photo is computed by the same algorithm,
    # hence rounded equally, in every process. EXHAUSTIVE, ONNX Runtime's own choice, takes (up to 1.19) the algorithm
    # that won a race on this machine, and runs that race again for each new size, of which holes bring many. DEFAULT
    # means since 1.20 cuDNN's fallback, which is many times slower (github.com/microsoft/onnxruntime/issues/22705).
    "cudnn_conv_algo_search": "HEURISTIC",
}


def has_cuda() -> bool:
    """Return whether this ONNX Runtime was built with CUDA and there is a GPU; it may fail to load all the same."""
    return bool(find_gpus()) and PROVIDERS["cuda"] in require("onnxruntime", extra="gpu").get_available_providers()


def find_packages() -> list[str]:
    """Return which packages that bring the module ``onnxruntime`` are installed; two overwrite each other's files."""
    names = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
    found = []
    for name in names:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


class OrtSession(Session):
    """An ONNX model in ONNX Runtime; see :class:`wavepaint.runtime.engines.session.Session`.

    Thread-safe. ONNX Runtime's pool of threads belongs to the session: each run computes in its caller's thread, and
    all runs share the pool. So the pool has as many threads as ``threads`` leaves beside one for each stream, and runs
    beyond ``streams`` or ``threads`` wait for their turn. A run that is alone has its caller's thread and the pool.
    Counted on two cores, with all streams at work: 8 threads that ran or were ready to with ``threads=8, streams=4``,
    2 with ``threads=2, streams=4``, and 1 with ``threads=1, streams=4``.

    Args:
        path: The ONNX file.
        device: "cpu", or "cuda" for the first NVIDIA GPU.
        io_dtype: Kind of its inputs and outputs.
        size_multiple: Height and width must be multiples of this.
        precision: Arithmetic inside the file.
        threads: CPU threads of all streams together, the callers' included; None takes every core.
        streams: Runs that go on at once, from as many threads of the caller.

    Raises:
        EngineError: ONNX Runtime is not installed, cannot read the file or use the device, or the file breaks the
            contract.
    """

    memory_factor = 2.0  # 1.6 to 2.0 for the default model at 512 to 1536 pixels a side

    def __init__(
        self,
        path: Path,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        io_dtype: IoDtype = "float32",
        size_multiple: int = 1,
        precision: str = "float32",
        threads: int | None = None,
        streams: int = 1,
    ) -> None:
        super().__init__(path, io_dtype=io_dtype, size_multiple=size_multiple)
        ort = require("onnxruntime", extra="cpu" if device == "cpu" else "gpu")
        provider = PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise EngineError(_missing_provider(ort.__version__))
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
        expected = ([INPUT_IMAGE, INPUT_MASK], [OUTPUT_IMAGE])
        if found != expected:
            raise EngineError(f"{path} has inputs and outputs {found}, the contract wants {expected}. Export it again.")
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU without a word
            raise EngineError(
                f"ONNX Runtime {ort.__version__} fell back to {session.get_providers()[0]} where {provider} was asked "
                "for: the GPU's driver, CUDA or cuDNN is missing or of another version. wp doctor shows what there is."
            )
        self.device = "CPU" if device == "cpu" else next((gpu.name for gpu in find_gpus()), "GPU")
        self.engine = f"ONNX Runtime {ort.__version__} {device.upper()}"
        self.max_batch = 1 if device == "cpu" else GPU_BATCH
        self.precision = precision
        self._session: Any = session
        self._turns = BoundedSemaphore(min(threads or streams, streams))

    def _is_open(self) -> bool:
        return self._session is not None

    def _infer(self, image: Tensor, mask: Tensor) -> Tensor:
        session = self._session  # which another thread may close while this one waits
        with self._turns:
            output: Tensor = session.run([OUTPUT_IMAGE], {INPUT_IMAGE: image, INPUT_MASK: mask})[0]
            return output

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _missing_provider(version: str) -> str:
    packages = find_packages()
    if "onnxruntime-gpu" in packages and len(packages) > 1:
        return (
            f"{' and '.join(packages)} are both installed and overwrite each other's files, so CUDA is gone. Mend it "
            f'with: pip uninstall -y {" ".join(packages)} && pip install "wavepaint[gpu]"'
        )
    return (
        f"this ONNX Runtime {version} has no CUDA. Replace it with: pip uninstall -y {' '.join(packages)} && "
        'pip install "wavepaint[gpu]"'
    )
