"""TensorRT and TensorRT-RTX as engines: they run a bundle's plans, and plans built from its ONNX models."""

from typing import ClassVar

from wavepaint.contract import INPAINTING, Artifact, Bundle, Model, Precision
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.engine import Auto, Engine, ExecutionConfig, OpenOptions, find_onnx_models
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary, TensorRtRtxLibrary
from wavepaint.runtime.engines.tensorrt.plan_cache import find_mismatch, open_plan, serves

_FASTEST_FIRST: tuple[Precision, ...] = ("float16", "bfloat16", "float32")


class TensorRt(Engine):
    """TensorRT on the first NVIDIA GPU.

    Attributes:
        tensorrt: The library that builds and runs plans.
    """

    tensorrt: ClassVar[TensorRtLibrary] = TensorRtLibrary()
    name = TensorRtLibrary.name
    label = TensorRtLibrary.label
    module = TensorRtLibrary.module
    is_on_gpu = True

    def takes(self, artifact: Artifact) -> bool:
        return artifact.kind == self.name

    def require_usable(self, model: Model | None = None) -> None:
        gpu = self.tensorrt.require_gpu()
        version = self.tensorrt.load().__version__
        if model is not None:
            mismatch = find_mismatch(model.artifact.details, self.tensorrt, version, gpu.compute_capability)
            if mismatch:
                raise EngineError(mismatch)

    def find_runnable(self, model: Model) -> list[ExecutionConfig]:
        if not self.takes(model.artifact) or self.find_obstacle(model):
            return []
        return [ExecutionConfig(self.name, model, model.artifact.precision)]

    def list_candidates(self, bundle: Bundle, precision: Precision | Auto = "auto") -> list[ExecutionConfig]:
        """Return one candidate for each precision: a plan for this GPU, else any plan, else the ONNX model.

        Precisions with a plan in the bundle come first, because they need no build.
        """
        if bundle.task is not INPAINTING:  # plans are built for its tensors only
            return []
        capability = next((gpu.compute_capability for gpu in find_gpus()), "")
        reference = find_onnx_models(bundle).get("float32")
        found = []
        for arithmetic in _FASTEST_FIRST:
            forms = [
                artifact
                for artifact in bundle.manifest.artifacts
                if artifact.kind in ("onnx", self.name)
                and artifact.io_dtype == "float32"
                and artifact.precision == arithmetic
            ]
            forms.sort(key=lambda form: (form.kind == "onnx", not serves(form.details, capability)))
            if forms and precision in ("auto", arithmetic):
                found.append(ExecutionConfig(self.name, bundle.get_model(forms[0]), arithmetic, reference))
        return sorted(found, key=lambda execution: execution.artifact.kind == "onnx")

    def open(self, execution: ExecutionConfig, options: OpenOptions) -> Session:
        return open_plan(
            execution.model,
            self.tensorrt,
            streams=max(2, options.streams),  # copies overlap with computing
            plan_policy=options.plan_policy,
            reference=options.reference,
        )


class TensorRtRtx(TensorRt):
    """TensorRT-RTX on the first NVIDIA GPU."""

    tensorrt = TensorRtRtxLibrary()
    name = TensorRtRtxLibrary.name
    label = TensorRtRtxLibrary.label
    module = TensorRtRtxLibrary.module
