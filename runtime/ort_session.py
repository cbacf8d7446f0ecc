"""ONNX Runtime on the CPU and, by CUDA, on NVIDIA GPUs."""

import importlib.metadata
from pathlib import Path
from typing import Any, Literal

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, Edges
from wavepaint.errors import EngineError
from wavepaint.optional import require
from wavepaint.runtime.session import GPU_BATCH, Session, Tensor, first_line, share_threads

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


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
    """An ONNX model in ONNX Runtime; see :class:`wavepaint.runtime.session.Session`.

    Thread-safe: ONNX Runtime allows concurrent runs of one session.

    Args:
        path: The ONNX file.
        device: "cpu", or "cuda" for the first NVIDIA GPU.
        edges: Kind of its inputs and outputs.
        size_multiple: Height and width must be multiples of this.
        precision: Arithmetic inside the file.
        threads: CPU threads of all streams; None takes every core.
        streams: Runs that go on at once, from as many threads of the caller; each has its share of the threads.

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
        edges: Edges = "float32",
        size_multiple: int = 1,
        precision: str = "float32",
        threads: int | None = None,
        streams: int = 1,
    ) -> None:
        super().__init__(path, edges=edges, size_multiple=size_multiple)
        ort = require("onnxruntime", extra="cpu" if device == "cpu" else "gpu")
        provider = PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise EngineError(_missing_provider(ort.__version__))
        options = ort.SessionOptions()
        options.log_severity_level = 3
        threads = share_threads(threads, streams)
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = ort.InferenceSession(str(path), options, providers=[provider])
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
        self.engine = f"ONNX Runtime {ort.__version__} {device.upper()}"
        self.max_batch = 1 if device == "cpu" else GPU_BATCH
        self.precision = precision
        self._session: Any = session

    def _is_open(self) -> bool:
        return self._session is not None

    def _infer(self, image: Tensor, mask: Tensor) -> Tensor:
        output: Tensor = self._session.run([OUTPUT_IMAGE], {INPUT_IMAGE: image, INPUT_MASK: mask})[0]
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
