"""Export a checkpoint, verify it and write it as a bundle, complete or not at all."""

import copy
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from wavepaint import __version__, contract
from wavepaint.atomic import write_folder
from wavepaint.contract import (
    INPAINTING,
    Artifact,
    Bundle,
    IoDtype,
    Manifest,
    Model,
    PadMode,
    Precision,
    Report,
    SizeLimits,
    Task,
    get_task,
)
from wavepaint.errors import ConfigError, OutputError
from wavepaint.export.byte_io import add_byte_io
from wavepaint.export.cases import Image
from wavepaint.export.classes import ClassOptions, describe_classes
from wavepaint.export.cost import measure_cost
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.fusion.upsampling import Upsampling
from wavepaint.export.graphs import make_graph
from wavepaint.export.plans import EngineRequest, OnSkip, build_engines, find_builders, fit_profiles
from wavepaint.export.precision import make_guard, to_half
from wavepaint.export.to_onnx import BFLOAT16_OPSET, OPSET, OPSETS, export_onnx
from wavepaint.export.verify import Suite, make_suite, require_passed, summarise, verify_model
from wavepaint.models.normalized_network import NormalizedNetwork
from wavepaint.runtime.engines.tensorrt.callbacks import OnProgress
from wavepaint.runtime.sizes import SizeRange
from wavepaint.weights.checkpoint import Checkpoint

OnStage = Callable[[str], None]


@dataclass(frozen=True)
class _Form:
    """How a precision is exported.

    ``upsampling`` is the fastest form in the engines that use the precision. ONNX Runtime uses float32 and runs the
    phases 1.6 times as fast as the ConvTranspose. OpenVINO runs a float16 file in bfloat16 and the ConvTranspose 1.2
    times as fast as the phases. TensorRT-RTX 1.7 has no ConvTranspose in bfloat16.
    """

    suffix: str
    upsampling: Upsampling
    opset: int
    dtype: torch.dtype | None = None


_FORMS: dict[Precision, _Form] = {
    "float32": _Form("", "phases", OPSET),
    "float16": _Form(".fp16", "transposed", OPSET, torch.float16),
    "bfloat16": _Form(".bf16", "phases", BFLOAT16_OPSET, torch.bfloat16),
}


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Contents of a bundle.

    Attributes:
        fusion: First rewrite the network into an equal one that costs less; see :mod:`wavepaint.export.fusion.fuse`.
        upsampling: Form of the blocks' upsampling; None takes the fastest for each precision.
        precisions: Precisions in addition to float32: "float16", "bfloat16".
        io_dtypes: "uint8" adds models with uint8 inputs and outputs (:mod:`wavepaint.export.byte_io`) to those with
            float32 inputs and outputs.
        opset: Version of ONNX's operator set; None takes the one that most engines read.
        engines: Engines to build, if any.
        classes: Labels and input images of classifiers and segmenters.

    Raises:
        ConfigError: The opset is not supported, or too old for bfloat16.
    """

    fusion: bool = True
    upsampling: Upsampling | None = None
    precisions: tuple[str, ...] = ()
    io_dtypes: tuple[IoDtype, ...] = ()
    opset: int | None = None
    engines: EngineRequest | None = None
    classes: ClassOptions = field(default_factory=ClassOptions)

    def __post_init__(self) -> None:
        if self.opset is None:
            return
        if self.opset not in OPSETS:
            raise ConfigError(f"the opset is {self.opset}: expected {OPSETS[0]} to {OPSETS[-1]} (--opset).")
        if "bfloat16" in self.precisions and self.opset < BFLOAT16_OPSET:
            raise ConfigError(
                f"the opset is {self.opset}: bfloat16 needs {BFLOAT16_OPSET} or newer, because Conv does not take "
                "bfloat16 before (--opset)."
            )


def torch_suite(
    network: nn.Module, size_multiple: int, task: Task = INPAINTING, limits: SizeLimits | None = None
) -> Suite:
    """Run a network in PyTorch over the verification cases; its outputs are the reference."""
    graph = copy.deepcopy(make_graph(network, task)).eval()  # a copy: exports keep the default layout
    graph.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # fastest on CPUs

    def run(*inputs: Image) -> Image:
        with torch.inference_mode():
            output: Image = graph(*map(torch.from_numpy, inputs)).numpy()
        return output

    return make_suite(size_multiple, run, f"PyTorch {torch.__version__} float32", task=task, limits=limits)


class _BundleWriter:
    """Export into an unfinished folder, and collect the manifest's entries."""

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        task: Task,
        size_multiple: int,
        limits: SizeLimits | None,
        padding: PadMode,
        options: ExportOptions,
        on_stage: OnStage,
    ) -> None:
        self.folder = folder
        self.network = network
        self.task = task
        self.size_multiple = size_multiple
        self.limits = limits
        self.padding: PadMode = padding
        self.options = options
        self.on_stage = on_stage
        self.suite = torch_suite(network, size_multiple, task, limits)
        self.artifacts: list[Artifact] = []
        self.reports: dict[str, list[Report]] = {}

    def add_precision(self, precision: Precision) -> None:
        """Export a precision with every I/O dtype, and verify each model.

        Raises:
            VerificationError: A model differs from PyTorch by more than its budget.
        """
        form, options = _FORMS[precision], self.options
        upsampling = options.upsampling or form.upsampling
        network = fuse(self.network, upsampling=upsampling) if options.fusion else self.network
        opset = options.opset or form.opset
        details: dict[str, Any] = {"opset": opset, "fused": options.fusion}
        if options.fusion:
            details["upsampling"] = upsampling
        if form.dtype is not None:
            self.on_stage("finding the layers that need float32")
            guard = make_guard(self.task)
            half = to_half(network, self.suite.cases, guard=guard, dtype=form.dtype)
            network = half.network
            details["kept_float32"] = half.kept_float32
            details[guard.detail] = guard.describe_worst(half.worst)
        self.on_stage(f"exporting {precision} to ONNX")
        model = Artifact(path=f"model{form.suffix}.onnx", kind="onnx", precision=precision, details=details)
        path = self.folder / model.path
        export_onnx(network, self.size_multiple, path, opset=opset, task=self.task, limits=self.limits)
        self._verify(model)
        if "uint8" in options.io_dtypes:
            name = f"model{form.suffix}.uint8.onnx"
            least = SizeRange.from_limits(self.limits).least[1:]
            wrapped = add_byte_io(onnx.load(path), self.size_multiple, self.padding, least)
            onnx.save(wrapped, self.folder / name)
            self._verify(replace(model, path=name, io_dtype="uint8", details={**details, "float_edges": model.path}))

    def get_model(self, artifact: Artifact) -> Model:
        """Return an artifact as a model that an engine can open."""
        path = self.folder / artifact.path
        return Model(path, artifact, self.size_multiple, self.padding, self.task, self.limits)

    def _verify(self, artifact: Artifact) -> None:
        self.on_stage(f"verifying {artifact.path}")
        reports = verify_model(self.get_model(artifact), self.suite)
        for report in reports:
            require_passed(report)
        self.reports[artifact.path] = summarise(reports)
        self.artifacts.append(artifact)


def _require_space(folder: Path, network: nn.Module, options: ExportOptions) -> None:
    """Refuse a disk that is too small for the ONNX files. Plans are not counted."""
    num_weights = sum(tensor.numel() for tensor in network.state_dict().values())
    bytes_per_weight = 4 + 2 * len(options.precisions)
    needed = num_weights * bytes_per_weight * (1 + len(options.io_dtypes))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"the disk of {folder.parent} has {free / 1e6:.1f} MB free, and the bundle's ONNX files need about "
            f"{needed / 1e6:.1f} MB. Free some space, or choose another folder (-o)."
        )


def _check_forms(task: Task, options: ExportOptions, on_skip: OnSkip) -> EngineRequest | None:
    """Refuse forms that only inpainting networks have, and return the engines to build."""
    request = options.engines
    if task is INPAINTING:
        return request
    if "uint8" in options.io_dtypes:
        raise ConfigError(
            f"models with bytes in and out exist for inpainting only, and this network is for {task.name}. Leave out "
            "--io uint8 and --triton."
        )
    if request is None:
        return None
    reason = f"engines are built of inpainting networks only, and this one is for {task.name}"
    if request.required:
        raise ConfigError(f"{reason}. Leave out --engine.")
    for library in request.libraries:
        on_skip(library, reason)
    return None


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str | None = None,
    options: ExportOptions | None = None,
    overwrite: bool = False,
    on_stage: OnStage = lambda stage: None,
    on_progress: OnProgress = lambda phase, share: None,
    on_skip: OnSkip = lambda library, reason: None,
) -> Bundle:
    """Export, verify and pack a checkpoint.

    Args:
        checkpoint: The weights.
        out: The bundle's folder.
        name: The bundle's short name; the folder's name by default.
        options: Contents of the bundle.
        overwrite: Replace an existing bundle, once the new one is complete.
        on_stage: Called with a description of each stage.
        on_progress: Called with the progress of each engine build.
        on_skip: Called with each optional engine that cannot be built here, and the reason.

    Raises:
        CheckpointError: Weights that do not match the network.
        VerificationError: An export differs from PyTorch by more than its budget.
        EngineError: A required engine cannot be built here.
        ConfigError: Options that do not fit the network.
        OutputError: ``out`` exists, or cannot be written.
    """
    options = options or ExportOptions()
    architecture = checkpoint.architecture
    task = get_task(architecture.task)
    network = checkpoint.build()
    size_multiple = architecture.size_multiple(checkpoint.parameters)
    limits = architecture.find_limits(checkpoint.parameters)
    classes = describe_classes(checkpoint, size_multiple, options.classes)
    preprocessing = classes.get("preprocessing")
    engines = _check_forms(task, options, on_skip)
    if engines is not None:
        engines = fit_profiles(engines, limits, size_multiple)
        engines = replace(engines, libraries=tuple(find_builders(engines, size_multiple, on_skip)))
    with write_folder(out, overwrite=overwrite) as folder:
        _require_space(folder, network, options)
        graph = network if preprocessing is None else NormalizedNetwork(network, preprocessing).eval()
        writer = _BundleWriter(folder, graph, task, size_multiple, limits, network.padding, options, on_stage)
        for precision in _FORMS:
            if precision == "float32" or precision in options.precisions:
                writer.add_precision(precision)
        artifacts, reports = writer.artifacts, writer.reports
        if engines is not None:
            built, plan_reports = build_engines(
                [writer.get_model(artifact) for artifact in artifacts],
                engines,
                partial(verify_model, suite=writer.suite),
                on_stage=on_stage,
                on_progress=on_progress,
                on_skip=on_skip,
            )
            artifacts += built
            reports |= plan_reports
        manifest = Manifest(
            name=name or out.name,
            task=architecture.task,
            architecture=architecture.name,
            hyper_parameters=checkpoint.parameters,
            num_parameters=sum(parameter.numel() for parameter in network.parameters()),
            size_multiple=size_multiple,
            padding=network.padding,
            crop_size=contract.find_crop_size(checkpoint.training),
            **asdict(measure_cost(folder / artifacts[0].path, size_multiple, limits)),
            artifacts=artifacts,
            files=contract.describe_files(folder),
            source={"file": checkpoint.path.name, "sha256": checkpoint.sha256},
            versions={
                "wavepaint": __version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
                "numpy": np.__version__,
            },
            verification=reports,
            training=checkpoint.training,
            contract=dict(task.tensors.items()),
            sizes=limits,
            **classes,
        )
        (folder / contract.MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return Bundle(out, manifest)
