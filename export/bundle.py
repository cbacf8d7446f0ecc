"""From a checkpoint to a bundle on disk, whole or not at all."""

import platform
from collections.abc import Callable
from pathlib import Path

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
from wavepaint.export.to_onnx import OPSET, InpaintingGraph, export_onnx
from wavepaint.export.verify import Budget, Image, make_report, require_passed, verification_cases, verify_session
from wavepaint.models.checkpoint import Checkpoint
from wavepaint.runtime.ort_session import OrtSession

MODEL_NAME = "model.onnx"


def _torch_reference(network: nn.Module) -> Callable[[Image, Image], Image]:
    graph = InpaintingGraph(network).eval()

    def run(image: Image, mask: Image) -> Image:
        with torch.inference_mode():
            output: Image = graph(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
        return output

    return run


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str | None = None,
    fusion: bool = True,
    overwrite: bool = False,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Bundle:
    """Export, verify and pack a checkpoint.

    Args:
        checkpoint: The weights.
        out: The bundle's folder.
        name: Its short name; the folder's by default.
        fusion: Rewrite the network exactly into a cheaper one first; see :mod:`wavepaint.export.fusion`.
        overwrite: Replace a former bundle; until the new one is complete it stays as it is.
        on_stage: Told of each stage, for people who wait.

    Raises:
        CheckpointError: Not an inpainting network, or weights that do not fit.
        VerificationError: The export differs from PyTorch by more than its budget.
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
        on_stage("exporting to ONNX")
        export_onnx(fuse(network) if fusion else network, size_multiple, folder / MODEL_NAME)
        on_stage("verifying against PyTorch")
        budget = Budget()
        with OrtSession(folder / MODEL_NAME, size_multiple) as session:
            comparisons = verify_session(session, _torch_reference(network), verification_cases(size_multiple), budget)
            report = make_report(comparisons, budget, f"PyTorch {torch.__version__} float32", session.engine)
        require_passed(report)
        manifest = Manifest(
            name=name or out.name,
            task=architecture.task,
            architecture=architecture.name,
            hyper_parameters=checkpoint.parameters,
            num_parameters=sum(parameter.numel() for parameter in network.parameters()),
            size_multiple=size_multiple,
            artifacts=[
                Artifact(path=MODEL_NAME, kind="onnx", precision="float32", details={"opset": OPSET, "fused": fusion})
            ],
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
            verification=report,
            training=checkpoint.training,
        )
        (folder / contract.MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
        on_stage("packing")
    return Bundle(out, manifest)
