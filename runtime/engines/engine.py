"""The interface of an engine: what it can run, whether it works on this machine, and how it opens a model.

To add an engine, write its class in a file or folder of its own, and add its name to :data:`EngineName` and its class
to the list in :mod:`wavepaint.runtime.engines.registry`.
"""

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from wavepaint.contract import Artifact, Bundle, Model, Precision, Report
from wavepaint.errors import EngineError
from wavepaint.model_file import check_model_file
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.engines.trust import Reference

EngineName = Literal["ort-cpu", "ort-cuda", "openvino", "tensorrt", "tensorrt-rtx"]
"""Names on the command line, in the order in which they are listed."""

Auto = Literal["auto"]

PlanPolicy = Literal["build", "cached", "refuse"]
"""What to do if no plan in the bundle fits this machine: use the cached plan or build one, which can take minutes
("build"); use the cached plan or fail ("cached"); or fail ("refuse")."""


@dataclass(frozen=True)
class ExecutionConfig:
    """One way to run a model.

    Attributes:
        engine: The engine that runs the model.
        model: The form of the model. Its precision is that of the weights.
        arithmetic: Arithmetic precision.
        reference: The bundle's float32 model, which a session on a GPU is compared with; None if there is none.
    """

    engine: EngineName
    model: Model
    arithmetic: Precision
    reference: Model | None = None

    @property
    def artifact(self) -> Artifact:
        """The model's entry in the manifest."""
        return self.model.artifact


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How to open a model.

    Attributes:
        threads: CPU threads; None leaves the choice to the engine.
        streams: Number of concurrent runs, each from a thread of the caller; they share ``threads``.
        plan_policy: For TensorRT, what to do if no plan in the bundle fits this machine.
        reference: A new plan is compared with it before it is cached; None skips the comparison.
    """

    threads: int | None = None
    streams: int = 1
    plan_policy: PlanPolicy = "build"
    reference: Reference | None = None


class Engine(ABC):
    """An engine. Instances have no state, and the engine's library is imported when it is first needed.

    Attributes:
        name: Name on the command line.
        label: The beginning of the engine's name in reports; a version follows.
        module: Python module of the engine's library.
        is_on_gpu: Whether it runs on the GPU.
        may_fail_verification: Whether a failure to run counts as a missing library and not as a failed verification.
    """

    name: ClassVar[EngineName]
    label: ClassVar[str]
    module: ClassVar[str]
    is_on_gpu: ClassVar[bool]
    may_fail_verification: ClassVar[bool] = False

    def is_installed(self) -> bool:
        """Return whether the engine's library is installed, without importing it."""
        return importlib.util.find_spec(self.module) is not None

    def is_named_in(self, report: Report) -> bool:
        """Return whether a report is about this engine."""
        return f"{report.get('engine', '')} ".startswith(f"{self.label} ")

    def find_obstacle(self, model: Model | None = None) -> str:
        """Return why this machine cannot run the engine, or a model in it, and how to fix it; empty if it can."""
        try:
            self.require_usable(model)
        except EngineError as error:
            return str(error)
        return ""

    @abstractmethod
    def require_usable(self, model: Model | None = None) -> None:
        """Raise if this machine cannot run the engine or, if given, a model that the engine takes.

        Raises:
            EngineError: The library, the driver or the GPU is missing, or the model does not fit this machine.
        """

    def computes(self, precision: Precision) -> bool:
        """Return whether the engine computes in a precision, given a suitable model and processor."""
        return True

    @abstractmethod
    def takes(self, artifact: Artifact) -> bool:
        """Return whether the engine can run this form of a model, apart from the requirements on the machine."""

    @abstractmethod
    def list_candidates(self, bundle: Bundle, precision: Precision | Auto = "auto") -> list[ExecutionConfig]:
        """Return the configurations in which the engine could run a bundle with float32 inputs and outputs.

        The fastest comes first. Neither the installation nor the bundle's reports are considered.
        """

    @abstractmethod
    def find_runnable(self, model: Model) -> list[ExecutionConfig]:
        """Return the configurations in which this machine can run a model, exact arithmetic before reduced."""

    @abstractmethod
    def open(self, execution: ExecutionConfig, options: OpenOptions) -> Session:
        """Open a model.

        Raises:
            EngineError: The library is not installed or does not load, or it refuses the model or the arithmetic.
        """


class OnnxEngine(Engine):
    """An engine that runs the ONNX files of a bundle.

    Attributes:
        fastest_first: Precisions of a file and of the arithmetic, as pairs, fastest first.
    """

    fastest_first: ClassVar[tuple[tuple[Precision, Precision], ...]]

    def computes(self, precision: Precision) -> bool:
        return precision in [arithmetic for _, arithmetic in self.fastest_first]

    def takes(self, artifact: Artifact) -> bool:
        return artifact.kind == "onnx" and artifact.precision in [file for file, _ in self.fastest_first]

    def list_candidates(self, bundle: Bundle, precision: Precision | Auto = "auto") -> list[ExecutionConfig]:
        models = find_onnx_models(bundle)
        return [
            ExecutionConfig(self.name, models[file], arithmetic, models.get("float32"))
            for file, arithmetic in self.fastest_first
            if file in models and precision in ("auto", arithmetic)
        ]

    def open(self, execution: ExecutionConfig, options: OpenOptions) -> Session:
        check_model_file(execution.model.path)
        return self.open_checked(execution, options)

    @abstractmethod
    def open_checked(self, execution: ExecutionConfig, options: OpenOptions) -> Session:
        """Open an ONNX file that has no external data."""


def find_onnx_models(bundle: Bundle) -> dict[Precision, Model]:
    """Return the first ONNX model of each precision with float32 inputs and outputs."""
    models: dict[Precision, Model] = {}
    for artifact in bundle.manifest.artifacts:
        if artifact.kind == "onnx" and artifact.io_dtype == "float32":
            models.setdefault(artifact.precision, bundle.get_model(artifact))
    return models
