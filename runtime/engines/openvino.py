"""OpenVINO on the CPU: float32 everywhere, bfloat16 where the processor has it."""

from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, IoDtype
from wavepaint.errors import EngineError
from wavepaint.optional import require
from wavepaint.runtime.engines.session import Precision, Session, Tensor, check_threads, first_line

_HINTS: dict[str, str] = {"float32": "f32", "bfloat16": "bf16"}
# 3.4 to 3.8 and 1.8 to 1.9 for the default model at 512 to 1536 pixels a side.
_MEMORY_FACTORS = {"float32": 4.0, "bfloat16": 2.0}
_CAPABILITIES: dict[str, Precision] = {"FP32": "float32", "BF16": "bfloat16"}


@cache
def _core() -> Any:
    return require("openvino", extra="openvino").Core()


def cpu_precisions() -> list[Precision]:
    """Return the precisions this processor computes in OpenVINO, float32 first.

    Raises:
        EngineError: OpenVINO is not installed or does not load.
    """
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [precision for capability, precision in _CAPABILITIES.items() if capability in capabilities]


class OpenVinoSession(Session):
    """An ONNX model in OpenVINO's CPU plugin; see :class:`wavepaint.runtime.engines.session.Session`.

    The precision of the arithmetic is that of OpenVINO's kernels, not the file's: it computes a float16 file in float32
    on float16 weights. Thread-safe: runs take turns, each with all threads, whatever the number of streams. Two streams
    with half the threads each were no faster, and several requests of one compiled model, each from its own thread,
    hung now and then in OpenVINO 2026.4: a thread that holds Python's lock waited for one of the model's, whose holder
    waited for Python's.

    Args:
        path: The ONNX file.
        io_dtype: Kind of its inputs and outputs.
        size_multiple: Height and width must be multiples of this.
        precision: Of the arithmetic, "float32" or "bfloat16".
        weights: Precision of the file's weights.
        threads: Threads of one run; None lets OpenVINO choose.

    Raises:
        EngineError: OpenVINO is not installed, cannot read the file, or this processor lacks the precision.
    """

    max_batch = 1

    def __init__(
        self,
        path: Path,
        *,
        io_dtype: IoDtype = "float32",
        size_multiple: int = 1,
        precision: str = "float32",
        weights: str = "float32",
        threads: int | None = None,
    ) -> None:
        super().__init__(path, io_dtype=io_dtype, size_multiple=size_multiple)
        openvino = require("openvino", extra="openvino")
        version = openvino.get_version().split("-")[0]
        if precision not in cpu_precisions():
            way_out = "--engine ort-cpu computes float16" if precision == "float16" else "--precision float32 is exact"
            raise EngineError(
                f"OpenVINO {version} computes {' and '.join(cpu_precisions())} on this processor, not {precision}: "
                f"{way_out}, and --precision auto takes the fastest that was verified."
            )
        config = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "NUM_STREAMS": "1"}
        check_threads(threads)
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            model: Any = _core().compile_model(path, "CPU", config)
        except Exception as error:  # OpenVINO raises RuntimeError and its children
            raise EngineError(f"OpenVINO {version} cannot load {path}: {first_line(error)}") from error
        # A port that is merely converted next bears the converted tensor's name as well.
        found = [[port.get_names() for port in ports] for ports in (model.inputs, model.outputs)]
        expected = [[INPUT_IMAGE, INPUT_MASK], [OUTPUT_IMAGE]]
        if not all(
            len(ports) == len(names) and all(any(name in port for port in ports) for name in names)
            for ports, names in zip(found, expected, strict=True)
        ):
            raise EngineError(f"{path} has inputs and outputs {found}, the contract wants {expected}. Export it again.")
        self.engine = f"OpenVINO {version} CPU"
        self.precision = precision
        self._weights = weights
        self.memory_factor = _MEMORY_FACTORS[precision]
        self._request = model.create_infer_request()
        self._turn = Lock()

    @property
    def weights(self) -> str:
        return self._weights

    def _is_open(self) -> bool:
        return self._request is not None

    def _infer(self, image: Tensor, mask: Tensor) -> Tensor:
        with self._turn:
            # Shared memory would hand out the request's own buffer.
            results = self._request.infer({INPUT_IMAGE: image, INPUT_MASK: mask}, share_outputs=False)
            output: Tensor = results[OUTPUT_IMAGE]
            return output

    def close(self) -> None:
        """Free the model, when the run at work is done."""
        with self._turn:
            self._request = None
