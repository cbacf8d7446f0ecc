"""A bundle for super-resolution whose model repeats each pixel, times ``scale``."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fakes.bundle import SIZE_MULTIPLE
from wavepaint.contract import (
    MANIFEST_NAME,
    SUPER_RESOLUTION,
    Artifact,
    Bundle,
    Manifest,
    describe_files,
    read_bundle,
)


def write_upscaling_bundle(folder: Path, *, factor: float = 2.0, scale: float = 1.0) -> Bundle:
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node(
            "Resize", ["scaled", "", "factors"], ["image_out"], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
    ]  # fmt: skip
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, *sides])
        for name, sides in (("image", ("H", "W")), ("image_out", ("H2", "W2")))
    ]
    constants = [
        numpy_helper.from_array(np.float32(scale).reshape(()), "scale"),
        numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "factors"),
    ]
    graph = helper.make_graph(nodes, "repeat", [tensors[0]], [tensors[1]], constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "model.onnx"
    )
    manifest = Manifest(
        name="repeat",
        task=SUPER_RESOLUTION.name,
        architecture="wavemix-super-resolution",
        hyper_parameters={},
        num_parameters=1,
        size_multiple=SIZE_MULTIPLE,
        macs_per_pixel=1.0,
        activation_bytes_per_pixel=12.0,
        artifacts=[Artifact(path="model.onnx", kind="onnx", precision="float32")],
        files=describe_files(folder),
        source={"file": "repeat.pt", "sha256": "0" * 64},
        versions={},
        verification={},
        contract=dict(SUPER_RESOLUTION.tensors),
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return read_bundle(folder)
