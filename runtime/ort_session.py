"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, Edges
from wavepaint.errors import EngineError
from wavepaint.optional import require
from wavepaint.runtime.session import Session, Tensor, first_line

PROVIDER = "CPUExecutionProvider"


class OrtSession(Session):
    """An ONNX model in ONNX Runtime's CPU provider; see :class:`wavepaint.runtime.session.Session`.

    Thread-safe: ONNX Runtime allows concurrent runs of one session.

    Args:
        path: The ONNX file.
        edges: Kind of its inputs and outputs.
        size_multiple: Height and width must be multiples of this.
        precision: Arithmetic inside the file.
        threads: Threads of one run; None lets ONNX Runtime take every core.

    Raises:
        EngineError: ONNX Runtime is not installed, cannot read the file, or the file breaks the contract.
    """

    def __init__(
        self,
        path: Path,
        *,
        edges: Edges = "float32",
        size_multiple: int = 1,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        super().__init__(path, edges=edges, size_multiple=size_multiple)
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
            raise EngineError(f"ONNX Runtime {ort.__version__} cannot load {path}: {first_line(error)}") from error
        found = ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
        expected = ([INPUT_IMAGE, INPUT_MASK], [OUTPUT_IMAGE])
        if found != expected:
            raise EngineError(f"{path} has inputs and outputs {found}, the contract wants {expected}. Export it again.")
        if session.get_providers() != [PROVIDER]:
            raise EngineError(f"ONNX Runtime loaded {session.get_providers()} where {PROVIDER} was asked for.")
        self.engine = f"ONNX Runtime {ort.__version__} CPU"
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
