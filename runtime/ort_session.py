"""ONNX Runtime on the CPU."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import EngineError
from wavepaint.optional import require
from wavepaint.runtime.session import Tensor, check_inputs

PROVIDER = "CPUExecutionProvider"


class OrtSession:
    """An ONNX model in ONNX Runtime's CPU provider; see :class:`wavepaint.runtime.session.Session`.

    Thread-safe: ONNX Runtime allows concurrent runs of one session.

    Args:
        path: The ONNX file.
        size_multiple: Height and width must be multiples of this.
        precision: Arithmetic inside the file.
        threads: Threads of one run; None lets ONNX Runtime take every core.

    Raises:
        EngineError: ONNX Runtime is not installed, cannot read the file, or the file breaks the contract.
    """

    def __init__(
        self, path: Path, size_multiple: int, *, precision: str = "float32", threads: int | None = None
    ) -> None:
        ort = require("onnxruntime", extra="cpu")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            if threads < 1:
                raise EngineError(f"threads is {threads}: expected 1 or more (--threads).")
            options.intra_op_num_threads = threads
        try:
            session = ort.InferenceSession(str(path), options, providers=[PROVIDER])
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise EngineError(f"ONNX Runtime {ort.__version__} cannot load {path}: {_first_line(error)}") from error
        found = ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
        expected = ([INPUT_IMAGE, INPUT_MASK], [OUTPUT_IMAGE])
        if found != expected:
            raise EngineError(f"{path} has inputs and outputs {found}, the contract wants {expected}. Export it again.")
        if session.get_providers() != [PROVIDER]:
            raise EngineError(f"ONNX Runtime loaded {session.get_providers()} where {PROVIDER} was asked for.")
        self.engine = f"ONNX Runtime {ort.__version__} CPU"
        self.precision = precision
        self.size_multiple = size_multiple
        self._session: Any = session

    def run(self, image_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        """Fill the holes of a batch; see :meth:`wavepaint.runtime.session.Session.run`."""
        check_inputs(image_NCHW, mask_N1HW, self.size_multiple)
        if self._session is None:
            raise EngineError("this session is closed. Open another one.")
        try:
            output: Tensor = self._session.run([OUTPUT_IMAGE], {INPUT_IMAGE: image_NCHW, INPUT_MASK: mask_N1HW})[0]
        except Exception as error:  # as above
            raise EngineError(
                f"{self.engine} failed on a batch of shape {image_NCHW.shape}: {_first_line(error)}"
            ) from error
        return output

    def close(self) -> None:
        """Free the model."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
