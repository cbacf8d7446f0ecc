"""Bundles of a network that is one convolution. They are written in milliseconds, and every engine runs them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wavepaint.contract import (
    MANIFEST_NAME,
    Artifact,
    Bundle,
    IoDtype,
    Kind,
    Manifest,
    Model,
    Precision,
    describe_files,
    read_bundle,
)
from wavepaint.export.byte_io import add_byte_io

SIZE_MULTIPLE = 8

REPORT = {
    "passed": True, "required": True, "engine": "ONNX Runtime 1.31.1 CPU", "precision": "float32",
    "reference": "PyTorch", "budget": {"max_error": 1e-5, "min_psnr_db": 90.0}, "max_error": 0.0, "mean_error": 0.0,
    "min_psnr_hole_db": 120.0, "min_ssim_hole": 1.0, "num_cases": 10, "num_not_finite": 0, "known_identical": True,
    "cases": [],
}  # fmt: skip
"""A verification report of a model that equals PyTorch's network."""

_SUFFIXES: dict[Precision, str] = {"float32": "", "float16": ".fp16", "bfloat16": ".bf16"}
_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}


def write_model(path: Path, *, precision: Precision = "float32", scale: float = 1.0) -> None:
    """Write the network with float32 inputs and outputs. Another ``scale`` changes its results."""
    rng = np.random.default_rng(0)
    kind = _TYPES[precision]
    weights = scale * rng.standard_normal((3, 3, 3, 3))
    nodes = [
        helper.make_node("Cast", ["mask"], ["hole"], to=TensorProto.BOOL),
        helper.make_node("Where", ["hole", "grey", "image"], ["known"]),
        helper.make_node("Cast", ["known"], ["x"], to=kind),
        helper.make_node("Conv", ["x", "weights"], ["y"], name="convolution", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["y"], ["z"]),
        helper.make_node("Cast", ["z"], ["filled"], to=TensorProto.FLOAT),
        helper.make_node("Where", ["hole", "filled", "image"], ["image_out"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "H", "W"])
        for name, channels in (("image", 3), ("mask", 1), ("image_out", 3))
    ]
    constants = [
        helper.make_tensor("weights", kind, weights.shape, weights.ravel()),
        numpy_helper.from_array(np.full((), 0.5, np.float32), "grey"),
    ]
    graph = helper.make_graph(nodes, "one convolution", tensors[:2], tensors[2:], constants)
    opset = helper.make_opsetid("", 22 if precision == "bfloat16" else 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def make_model(
    path: Path,
    *,
    precision: Precision = "float32",
    io_dtype: IoDtype = "float32",
    kind: Kind = "onnx",
    size_multiple: int = SIZE_MULTIPLE,
) -> Model:
    """Return a file that is in no bundle as a model."""
    artifact = Artifact(path=path.name, kind=kind, precision=precision, io_dtype=io_dtype)
    return Model(path, artifact, size_multiple)


def write_bundle(
    folder: Path,
    *,
    precisions: tuple[Precision, ...] = ("float32", "float16"),
    with_uint8: bool = False,
    **fields: Any,
) -> Bundle:
    """Write a bundle. It has no report unless ``fields`` of its manifest say so."""
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = []
    for precision in precisions:
        artifact = Artifact(path=f"model{_SUFFIXES[precision]}.onnx", kind="onnx", precision=precision)
        write_model(folder / artifact.path, precision=precision)
        artifacts.append(artifact)
        if with_uint8:
            name = f"model{_SUFFIXES[precision]}.uint8.onnx"
            onnx.save(add_byte_io(onnx.load(folder / artifact.path), SIZE_MULTIPLE, "reflect"), folder / name)
            artifacts.append(replace(artifact, path=name, io_dtype="uint8", details={"float_edges": artifact.path}))
    manifest = {
        "name": "convolution",
        "task": "inpainting",
        "architecture": "wavepaint",
        "hyper_parameters": {},
        "num_parameters": 81,
        "size_multiple": SIZE_MULTIPLE,
        "macs_per_pixel": 81.0,
        "activation_bytes_per_pixel": 64.0,
        "artifacts": artifacts,
        "files": describe_files(folder),
        "source": {"file": "convolution.pt", "sha256": "0" * 64},
        "versions": {},
        "verification": {},
        **fields,
    }
    (folder / MANIFEST_NAME).write_text(Manifest(**manifest).to_json(), "utf-8")
    return read_bundle(folder)


def write_full_bundle(folder: Path) -> Bundle:
    """Write a bundle with every precision and both I/O dtypes."""
    return write_bundle(folder, precisions=("float32", "float16", "bfloat16"), with_uint8=True)
