"""From a checkpoint to a bundle on disk, whole or not at all."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from wavepaint import __version__, contract
from wavepaint.atomic import write_folder
from wavepaint.contract import Artifact, Bundle, Manifest
from wavepaint.errors import CheckpointError
from wavepaint.export.fusion import fuse
from wavepaint.export.precision import HALF_BUDGET, to_half
from wavepaint.export.to_onnx import OPSET, InpaintingGraph, export_onnx
from wavepaint.export.verify import (
    FLOAT32_BUDGET,
    Budget,
    Image,
    Reference,
    make_report,
    require_passed,
    verification_cases,
    verify_session,
)
from wavepaint.models.checkpoint import Checkpoint
from wavepaint.runtime.ort_session import OrtSession

MODEL_NAME = "model.onnx"
HALF_NAME = "model.fp16.onnx"

OnStage = Callable[[str], None]


def _torch_reference(network: nn.Module) -> Reference:
    graph = InpaintingGraph(network).eval()

    def run(image: Image, mask: Image) -> Image:
        with torch.inference_mode():
            output: Image = graph(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
        return output

    return run


class _BundleWriter:
    """Exports into an unfinished folder and keeps what the manifest will say."""

    def __init__(self, folder: Path, network: nn.Module, size_multiple: int, on_stage: OnStage) -> None:
        self.folder = folder
        self.size_multiple = size_multiple
        self.on_stage = on_stage
        self.cases = verification_cases(size_multiple)
        self.reference = _torch_reference(network)
        self.artifacts: list[Artifact] = []
        self.reports: dict[str, Any] = {}

    def add_onnx(self, name: str, network: nn.Module, precision: str, budget: Budget, **details: Any) -> None:
        """Export a variant of the network and compare it with the original.

        Raises:
            VerificationError: It differs by more than the budget.
        """
        self.on_stage(f"exporting {precision} to ONNX")
        export_onnx(network, self.size_multiple, self.folder / name)
        self.on_stage(f"verifying {precision} against PyTorch")
        with OrtSession(self.folder / name, self.size_multiple, precision=precision) as session:
            comparisons = verify_session(session, self.reference, self.cases, budget)
            report = make_report(comparisons, budget, f"PyTorch {torch.__version__} float32", session.engine)
        require_passed(report)
        self.reports[name] = report
        self.artifacts.append(Artifact(path=name, kind="onnx", precision=precision, details=details))


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str | None = None,
    fusion: bool = True,
    fp16: bool = False,
    overwrite: bool = False,
    on_stage: OnStage = lambda stage: None,
) -> Bundle:
    """Export, verify and pack a checkpoint.

    Args:
        checkpoint: The weights.
        out: The bundle's folder.
        name: Its short name; the folder's by default.
        fusion: Rewrite the network exactly into a cheaper one first; see :mod:`wavepaint.export.fusion`.
        fp16: Add a float16 model beside the float32 one; see :mod:`wavepaint.export.precision`.
        overwrite: Replace a former bundle; until the new one is complete it stays as it is.
        on_stage: Told of each stage, for people who wait.

    Raises:
        CheckpointError: Not an inpainting network, or weights that do not fit.
        VerificationError: An export differs from PyTorch by more than its budget.
        OutputError: ``out`` exists, or cannot be written.
    """
    architecture = checkpoint.architecture
    if architecture.task != "inpainting":
        raise CheckpointError(
            f"{checkpoint.path} is a {architecture.task} network ({architecture.name}); bundles hold inpainting ones."
        )
    network = checkpoint.build()
    size_multiple = architecture.size_multiple(checkpoint.parameters)
    with write_folder(out, overwrite=overwrite) as folder:
        writer = _BundleWriter(folder, network, size_multiple, on_stage)
        exported = fuse(network) if fusion else network
        details: dict[str, Any] = {"opset": OPSET, "fused": fusion}
        writer.add_onnx(MODEL_NAME, exported, "float32", FLOAT32_BUDGET, **details)
        if fp16:
            on_stage("looking for layers that float16 does not hold")
            half = to_half(exported, writer.cases)
            details["kept_float32"] = half.kept_float32
            writer.add_onnx(HALF_NAME, half.network, "float16", HALF_BUDGET, **details)
        manifest = Manifest(
            name=name or out.name,
            task=architecture.task,
            architecture=architecture.name,
            hyper_parameters=checkpoint.parameters,
            num_parameters=sum(parameter.numel() for parameter in network.parameters()),
            size_multiple=size_multiple,
            artifacts=writer.artifacts,
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
            verification=writer.reports,
            training=checkpoint.training,
        )
        (folder / contract.MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return Bundle(out, manifest)
