"""OpenVINO on the CPU: float32 everywhere, bfloat16 if the processor has it."""

import os
import sys
from functools import cache
from threading import Lock
from types import ModuleType
from typing import Any

from wavepaint.cache_folder import cache_folder
from wavepaint.contract import Bundle, Model, Precision
from wavepaint.errors import EngineError
from wavepaint.optional import require
from wavepaint.runtime.engines.engine import Auto, ExecutionConfig, OnnxEngine, OpenOptions, find_onnx_models
from wavepaint.runtime.engines.openvino_parts import compile_parts
from wavepaint.runtime.engines.session import CLOSED, Session, Tensor, check_threads, first_line

# Measured for the default model at 512 and 1024 pixels a side: 1.9 to 4.6 in float32, 2.0 to 3.7 in bfloat16, the more
# the larger the hole.
_MEMORY_FACTORS = {"float32": 4.6, "bfloat16": 3.7}
_CAPABILITIES: dict[str, Precision] = {"FP32": "float32", "BF16": "bfloat16"}


_CONVERTER = "openvino.tools.ovc"

NUM_CACHED = 20
"""Compiled models to keep. The default model's takes 6 MB, LaMa's 110 MB."""


def load_openvino() -> ModuleType:
    """Import OpenVINO without its model converter, which takes half of the time and loads telemetry.

    Another part of the process that asks OpenVINO for its converter gets it.

    Raises:
        EngineError: OpenVINO is not installed or does not load.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        return require("openvino", extra="openvino")
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # OpenVINO does without a converter that is missing
    try:
        openvino = require("openvino", extra="openvino")
    finally:
        del sys.modules[_CONVERTER]

    def find_late(name: str) -> Any:
        if name == "convert_model":
            return require(_CONVERTER, extra="openvino").convert_model
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")

    openvino.__getattr__ = find_late  # type: ignore[method-assign]
    return openvino


@cache
def _core() -> Any:
    return load_openvino().Core()


def _prepare_cache() -> dict[str, str]:
    """Return the option by which OpenVINO keeps compiled models, or none where their folder cannot be written.

    OpenVINO names them by the model, its settings, its version and the processor, and compiles a damaged one again. The
    oldest are deleted.
    """
    folder = cache_folder() / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        compiled = sorted(folder.glob("*.blob"), key=lambda path: path.stat().st_mtime)
        for path in compiled[:-NUM_CACHED]:
            path.unlink()
    except OSError:
        return {}
    return {"CACHE_DIR": str(folder)} if os.access(folder, os.W_OK) else {}


def cpu_precisions() -> list[Precision]:
    """Return the precisions in which OpenVINO computes on this processor, float32 first.

    Raises:
        EngineError: OpenVINO is not installed or does not load.
    """
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [precision for capability, precision in _CAPABILITIES.items() if capability in capabilities]


class OpenVino(OnnxEngine):
    """OpenVINO. Its arithmetic precision does not depend on the file, and it runs the float16 file fastest."""

    name = "openvino"
    label = "OpenVINO"
    module = "openvino"
    is_on_gpu = False
    fastest_first = (
        ("float16", "bfloat16"),
        ("bfloat16", "bfloat16"),
        ("float32", "bfloat16"),
        ("float16", "float32"),
        ("float32", "float32"),
    )

    def require_usable(self, model: Model | None = None) -> None:
        load_openvino()
        precisions = cpu_precisions()
        if model is not None and model.artifact.precision == "bfloat16" and "bfloat16" not in precisions:
            raise EngineError(f"OpenVINO computes {' and '.join(precisions)} on this processor, not bfloat16.")

    def list_candidates(self, bundle: Bundle, precision: Precision | Auto = "auto") -> list[ExecutionConfig]:
        models = find_onnx_models(bundle)
        if precision == "float16" and "float16" in models:  # OpenVINO refuses it with the reason
            return [ExecutionConfig(self.name, models["float16"], "float16", models.get("float32"))]
        return super().list_candidates(bundle, precision)

    def find_runnable(self, model: Model) -> list[ExecutionConfig]:
        if not self.takes(model.artifact) or not self.is_installed():
            return []
        wanted = {"bfloat16"} if model.artifact.precision == "bfloat16" else {"float32", "bfloat16"}
        return [ExecutionConfig(self.name, model, precision) for precision in cpu_precisions() if precision in wanted]

    def open_checked(self, execution: ExecutionConfig, options: OpenOptions) -> Session:
        return OpenVinoSession(execution.model, precision=execution.arithmetic, threads=options.threads)


class OpenVinoSession(Session):
    """An ONNX model in OpenVINO's CPU plugin; see :class:`wavepaint.runtime.engines.session.Session`.

    The arithmetic precision is that of OpenVINO's kernels, not the file's: OpenVINO computes a float16 file in float32
    on float16 weights. In bfloat16, the search for matched details stays in float32.

    Thread-safe: runs take turns, and each uses all threads. Two streams with half the threads each were no faster. In
    OpenVINO 2026.4 several requests of one compiled model, each from its own thread, sometimes deadlocked: one thread
    held the GIL and waited for a lock of the model, whose owner waited for the GIL.

    Args:
        model: An ONNX model.
        precision: Arithmetic precision, "float32" or "bfloat16".
        threads: Threads of one run; None lets OpenVINO choose.

    Raises:
        EngineError: OpenVINO is not installed, cannot read the file, or this processor lacks the precision.
    """

    max_batch = 1

    def __init__(self, model: Model, *, precision: Precision = "float32", threads: int | None = None) -> None:
        super().__init__(model)
        path = model.path
        openvino = load_openvino()
        version = openvino.get_version().split("-")[0]
        if precision not in cpu_precisions():
            hint = "--engine ort-cpu computes float16" if precision == "float16" else "--precision float32 is exact"
            raise EngineError(
                f"OpenVINO {version} computes {' and '.join(cpu_precisions())} on this processor, not {precision}: "
                f"{hint}, and --precision auto takes the fastest that was verified."
            )
        config = {"NUM_STREAMS": "1"}
        check_threads(threads)
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        parts: Any = None
        cached = _prepare_cache()
        for options in ({**config, **cached}, config) if cached else (config,):  # the disk may be full
            try:
                parts = compile_parts(openvino, _core(), str(path), precision, options)
                break
            except Exception as error:  # OpenVINO raises RuntimeError and its subclasses
                if options is config:
                    raise EngineError(f"OpenVINO {version} cannot load {path}: {first_line(error)}") from error
        # If the next operator only converts a port's tensor, the port also has the converted tensor's name.
        found = [[port.get_names() for port in ports] for ports in (parts.inputs, parts.outputs)]
        expected = [[*self.task.inputs], [self.task.output]]
        if not all(
            len(ports) == len(names) and all(any(name in port for port in ports) for name in names)
            for ports, names in zip(found, expected, strict=True)
        ):
            raise EngineError(f"{path} has inputs and outputs {found}, expected {expected}. Export it again.")
        self.engine = f"OpenVINO {version} CPU"
        self.precision = precision
        self.memory_factor = _MEMORY_FACTORS[precision]
        self._parts = parts
        self._turn = Lock()

    def _is_open(self) -> bool:
        return self._parts is not None

    def _infer(self, *tensors: Tensor) -> Tensor:
        with self._turn:
            if self._parts is None:  # another thread closed this session while this one waited
                raise EngineError(CLOSED)
            output: Tensor = self._parts.infer(dict(zip(self.task.inputs, tensors, strict=True)))[self.task.output]
            return output

    def close(self) -> None:
        """Free the model after the current run."""
        with self._turn:
            self._parts = None
