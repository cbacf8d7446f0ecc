"""How much memory a run of an exported model holds at its height."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK

SIDE = 64


def measure_activations(path: Path, size_multiple: int) -> float:
    """Return the most bytes that tensors alive at one time take, for each pixel of the batch.

    A tensor lives from the node that makes it to the last that reads it, in the file's order, without any reuse in
    place. What an engine adds (its own layouts, scratch, what its allocator does not give back) is the engine's factor.

    Args:
        path: An ONNX model with float32 edges.
        size_multiple: The model's.
    """
    model = onnx.load(path)
    names = [output for node in model.graph.node for output in node.output if output]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    side = -(-SIDE // size_multiple) * size_multiple
    inputs = {
        INPUT_IMAGE: np.zeros((1, 3, side, side), np.float32),
        INPUT_MASK: np.ones((1, 1, side, side), np.float32),
    }
    sizes = {name: array.nbytes for name, array in inputs.items()}
    sizes |= {name: array.nbytes for name, array in zip(names, session.run(names, inputs), strict=True)}
    last_read = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    alive = most = sum(sizes[name] for name in inputs)
    for index, node in enumerate(model.graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        most = max(most, alive)
        alive -= sum(sizes.get(name, 0) for name in set(node.input) if last_read[name] == index)
    return most / side**2
