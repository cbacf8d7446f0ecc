"""Bundles of a classifier and of a segmenter whose classes are red, green and blue: the logits are the channels."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fakes.bundle import SIZE_MULTIPLE
from wavepaint.contract import (
    CLASSIFICATION,
    MANIFEST_NAME,
    Artifact,
    Bundle,
    Manifest,
    Preprocessing,
    Task,
    describe_files,
    read_bundle,
)

LABELS = ["red", "green", "blue"]


def write_class_model(path: Path, task: Task, *, scale: float = 10.0, shift: float = 0.0, pool: int = 1) -> None:
    """Write the network: ``scale`` times the mean channels of the image, or of squares of ``pool`` pixels."""
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["x"]),
    ]
    if task is CLASSIFICATION:
        nodes += [helper.make_node("GlobalAveragePool", ["x"], ["mean"])]
        nodes += [helper.make_node("Flatten", ["mean"], ["logits"])]
    else:
        sides = {"kernel_shape": [pool, pool], "strides": [pool, pool]}
        nodes += [helper.make_node("AveragePool", ["x"], ["logits"], **sides)]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    shape = ["N", 3] if task is CLASSIFICATION else ["N", 3, "h", "w"]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    constants = [
        numpy_helper.from_array(np.float32(value).reshape(()), name)
        for name, value in (("scale", scale), ("shift", shift))
    ]
    graph = helper.make_graph(nodes, "channels", [image], [logits], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def write_class_bundle(
    folder: Path,
    task: Task,
    *,
    preprocessing: Preprocessing | None = None,
    model: dict[str, Any] | None = None,
    **fields: Any,
) -> Bundle:
    """Write a bundle for a task.

    Args:
        folder: The bundle's folder.
        task: Classification or segmentation.
        preprocessing: What the manifest says; by default images keep their size.
        model: Arguments of :func:`write_class_model`.
        fields: Further fields of the manifest.
    """
    folder.mkdir(parents=True)
    write_class_model(folder / "model.onnx", task, **(model or {}))
    content: dict[str, Any] = {
        "name": "channels",
        "task": task.name,
        "architecture": "wavemix-classifier" if task is CLASSIFICATION else "wavemix-segmenter",
        "hyper_parameters": {"num_classes": 3},
        "num_parameters": 1,
        "size_multiple": SIZE_MULTIPLE,
        "macs_per_pixel": 1.0,
        "activation_bytes_per_pixel": 12.0,
        "artifacts": [Artifact(path="model.onnx", kind="onnx", precision="float32")],
        "files": describe_files(folder),
        "source": {"file": "channels.pt", "sha256": "0" * 64},
        "versions": {},
        "verification": {},
        "contract": dict(task.tensors),
        "labels": LABELS,
        "preprocessing": preprocessing or Preprocessing(),
        **fields,
    }
    (folder / MANIFEST_NAME).write_text(Manifest(**content).to_json(), "utf-8")
    return read_bundle(folder)
