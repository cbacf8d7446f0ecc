"""Tiny networks of other projects, one for each preset of ``wp import``, written in milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

SIDE = 64
"""Side in pixels of the networks with a fixed size."""

LATENT = 8


class _Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def convolve(self, x: str, inputs: int, outputs: int = 3) -> str:
        weights = self.constant(self._random.standard_normal((outputs, inputs, 3, 3)) * 0.4)
        return self.add("Conv", x, weights, pads=[1, 1, 1, 1])

    def compose(self, prediction: str, image: str, hole: str) -> str:
        """Return the prediction in the hole, where ``hole`` is 1, and the image elsewhere."""
        known = self.add("Sub", self.constant(1), hole)
        return self.add("Add", self.add("Mul", prediction, hole), self.add("Mul", image, known))

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 17) -> Path:
        values = [
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in tensors.items()]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "foreign", *values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, path)
        return path


FLOAT, BYTE = TensorProto.FLOAT, TensorProto.UINT8


def write_lama(path: Path, *, peak: float = 255.0, side: int | str = SIDE) -> Path:
    """Image and mask in [0, 1], the composed result up to ``peak``; one size."""
    graph = _Graph()
    known = graph.add("Mul", "image", graph.add("Sub", graph.constant(1), "mask"))
    x = graph.convolve(graph.add("Concat", known, "mask", axis=1), 4)
    composed = graph.compose(graph.add("Sigmoid", x), "image", "mask")
    graph.add("Mul", composed, graph.constant(peak), output="output")
    sides = [side, side]
    return graph.save(
        path,
        {"image": (FLOAT, ["batch", 3, *sides]), "mask": (FLOAT, ["batch", 1, *sides])},
        {"output": (FLOAT, ["batch", 3, *sides])},
    )


def write_lama_4_channels(path: Path) -> Path:
    """One input of any size, a prediction of the whole image."""
    graph = _Graph()
    graph.add("Sigmoid", graph.convolve("input", 4), output="output")
    return graph.save(path, {"input": (FLOAT, ["n", 4, "h", "w"])}, {"output": (FLOAT, ["n", 3, "h", "w"])})


def write_migan(path: Path) -> Path:
    """Bytes in and out, known pixels marked by 255, blended beside the hole; one image."""
    graph = _Graph()
    image, mask = (graph.add("Cast", name, to=FLOAT) for name in ("image", "mask"))
    known = graph.add("Div", mask, graph.constant(255))
    scaled = graph.add("Sub", graph.add("Mul", image, graph.constant(2 / 255)), graph.constant(1))
    visible = graph.add("Concat", known, graph.add("Mul", scaled, known), axis=1)
    x = graph.add("Mul", graph.add("Sigmoid", graph.convolve(visible, 4)), graph.constant(255))
    hole = graph.add("Sub", graph.constant(1), known)
    near = graph.add("AveragePool", hole, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    blended = graph.compose(x, image, graph.add("Max", near, hole))
    graph.add("Cast", graph.add("Clip", blended, graph.constant(0), graph.constant(255)), output="result", to=BYTE)
    return graph.save(
        path,
        {"image": (BYTE, ["b", 3, "h", "w"]), "mask": (BYTE, ["b", 1, "h", "w"])},
        {"result": (BYTE, ["b", 3, "h", "w"])},
    )


def write_migan_generator(path: Path, opset: int = 12) -> Path:
    """The mask less 0.5, then the image in [-1, 1], black out to 0 in the hole; one image of one size, an old opset."""
    graph = _Graph()
    graph.add("Tanh", graph.convolve("input", 4), output="output")
    shape = [1, 4, SIDE, SIDE]
    return graph.save(path, {"input": (FLOAT, shape)}, {"output": (FLOAT, [1, 3, SIDE, SIDE])}, opset)


def write_comodgan(path: Path) -> Path:
    """Image in [-1, 1], a mask that is 1 where the image is known, and a latent vector; one size, any batch."""
    graph = _Graph()
    x = graph.convolve(graph.add("Concat", "mask", graph.add("Mul", "image", "mask"), axis=1), 4)
    style = graph.add("MatMul", "z", graph.constant(np.random.default_rng(1).standard_normal((LATENT, 3)) * 0.2))
    style = graph.add("Unsqueeze", style, graph.constant([2, 3], np.int64))
    hole = graph.add("Sub", graph.constant(1), "mask")
    composed = graph.compose(graph.add("Tanh", graph.add("Add", x, style)), "image", hole)
    graph.add("Identity", composed, output="output")
    sides = [SIDE, SIDE]
    return graph.save(
        path,
        {
            "image": (FLOAT, ["n", 3, *sides]),
            "mask": (FLOAT, ["n", 1, *sides]),
            "z": (FLOAT, ["n", LATENT]),
        },
        {"output": (FLOAT, ["n", 3, *sides])},
    )


WRITERS: dict[str, Callable[[Path], Path]] = {
    "lama": write_lama,
    "lama-4-channels": write_lama_4_channels,
    "migan": write_migan,
    "migan-generator": write_migan_generator,
    "comodgan": write_comodgan,
}
"""A writer for each preset."""


def change_model(path: Path, change: Callable[[ModelProto], None]) -> Path:
    """Change a written model in place, unchecked."""
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path
