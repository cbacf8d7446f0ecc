"""A bundle of a network that is one convolution: written in milliseconds, and run by every engine."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wavepaint.contract import MANIFEST_NAME, Artifact, Bundle, Manifest, describe_files, read_bundle


def write_model(path: Path, *, half: bool = False, scale: float = 1.0) -> None:
    """Write the network, in float16 with ``half``; with another ``scale`` it computes something else."""
    rng = np.random.default_rng(0)
    dtype, kind = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    weights = (scale * rng.standard_normal((3, 3, 3, 3))).astype(dtype)
    nodes = [
        helper.make_node("Cast", ["mask"], ["hole"], to=TensorProto.BOOL),
        helper.make_node("Where", ["hole", "grey", "image"], ["known"]),
        helper.make_node("Cast", ["known"], ["x"], to=kind),
        helper.make_node("Conv", ["x", "weights"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["y"], ["z"]),
        helper.make_node("Cast", ["z"], ["filled"], to=TensorProto.FLOAT),
        helper.make_node("Where", ["hole", "filled", "image"], ["image_out"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "H", "W"])
        for name, channels in (("image", 3), ("mask", 1), ("image_out", 3))
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.full((), 0.5, np.float32), "grey"),
    ]
    graph = helper.make_graph(nodes, "one convolution", tensors[:2], tensors[2:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def write_bundle(folder: Path, **fields: Any) -> Bundle:
    """Write a bundle with a float32 and a float16 model, and no report unless ``fields`` of its manifest say so."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model.onnx")
    write_model(folder / "model.fp16.onnx", half=True)
    manifest = {
        "name": "convolution",
        "task": "inpainting",
        "architecture": "wavepaint",
        "hyper_parameters": {},
        "num_parameters": 81,
        "size_multiple": 8,
        "macs_per_pixel": 81.0,
        "activation_bytes_per_pixel": 64.0,
        "artifacts": [
            Artifact(path="model.onnx", kind="onnx", precision="float32"),
            Artifact(path="model.fp16.onnx", kind="onnx", precision="float16"),
        ],
        "files": describe_files(folder),
        "source": {"file": "convolution.pt", "sha256": "0" * 64},
        "versions": {},
        "verification": {},
        **fields,
    }
    (folder / MANIFEST_NAME).write_text(Manifest(**manifest).to_json(), "utf-8")
    return read_bundle(folder)
