"""ONNX graphs for exactly one batch, height and width: nothing is left in them that an engine computes from the shape.

LaMa's spectral transforms are products with matrices that its exported graph makes from the height and the width, so
that one file serves every size. An engine that is built from it takes sizes for unknown, and may make the matrices
again in every run. Here sizes become numbers, and all that follows from numbers alone is computed once.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_shapes

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, IoDtype
from wavepaint.runtime.engines.tensorrt.plan import tensor_shape

MAX_FOLDED = 1 << 20
"""Largest constant that is made, in elements: matrices and positions fit, whole images that only repeat one do not."""

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def freeze_file(onnx_path: Path, frozen_path: Path, batch: int, side: int, io_dtype: IoDtype) -> str:
    """Write a copy of a model for one batch and side.

    Returns:
        What could not be done, for people; empty if everything was.
    """
    model, note = fix_sizes(onnx.load(onnx_path), (batch, side, side), io_dtype), ""
    try:
        model = fold_constants(model)
    except Exception as error:  # what the package cannot infer or compute, an engine may
        note = f"sizes are fixed, and what follows from them is left to the engine ({type(error).__name__}: {error})"
    onnx.save(model, frozen_path)
    return note


def fix_sizes(model: ModelProto, size: tuple[int, int, int], io_dtype: IoDtype) -> ModelProto:
    """Return a copy whose inputs and output have the shapes of one (batch, height, width)."""
    model = ModelProto.FromString(model.SerializeToString())
    for value in (*model.graph.input, *model.graph.output):
        if value.name in (INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE):
            dims = value.type.tensor_type.shape.dim
            for dim, number in zip(dims, tensor_shape(value.name, size, io_dtype), strict=True):
                dim.dim_value = number
    del model.graph.value_info[:]  # what it says of sizes was of any
    return model


def fold_constants(model: ModelProto) -> ModelProto:
    """Return a copy in which every node whose values follow from no input is a constant.

    Shapes are inferred again after every pass, since what is folded settles shapes that were open. What would make
    constants of more than :data:`MAX_FOLDED` elements stays.

    Raises:
        ValueError: A node has a graph of its own, such as a branch or a loop, which may read what is folded away here.
    """
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    for node in model.graph.node:
        if any(attribute.type in kinds for attribute in node.attribute):
            raise ValueError(f"{node.op_type} has a graph of its own")
    model = infer_shapes(model, data_prop=True)
    while _fold_once(model):
        del model.graph.value_info[:]
        model = infer_shapes(model, data_prop=True)
    return model


def _fold_once(model: ModelProto) -> bool:
    """Fold what the shapes known now allow, and forget what nothing reads then; return whether anything was folded."""
    graph = model.graph
    shapes = {value.name: _static_shape(value) for value in (*graph.input, *graph.value_info)}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    opsets = {one.domain: one.version for one in model.opset_import}
    kept: list[NodeProto] = []
    for node in graph.node:
        names = [name for name in node.input if name]
        if not _can_fold(node, names, shapes, tensors):
            kept.append(node)
            continue
        shape = shapes.get(names[0]) if node.op_type == "Shape" else None
        if shape is not None:
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            values: Any = [np.array(shape, np.int64)[bounds.get("start") : bounds.get("end")]]
        else:
            inputs = {name: numpy_helper.to_array(tensors[name]) for name in names}
            values = ReferenceEvaluator(node, opsets=opsets).run(None, inputs)
        for name, value in zip(node.output, values, strict=True):
            tensors[name] = numpy_helper.from_array(np.asarray(value), name)
    num_folded = len(graph.node) - len(kept)
    used = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensor for name, tensor in tensors.items() if name in used)
    return num_folded > 0


def _can_fold(
    node: NodeProto, names: list[str], shapes: dict[str, tuple[int, ...] | None], tensors: dict[str, TensorProto]
) -> bool:
    if node.op_type == "Shape" and shapes.get(names[0]) is not None:
        return True
    if node.op_type in _RANDOM:
        return False
    sizes = [shapes.get(name) for name in node.output]  # unknown before a later pass, if what it follows from is open
    is_small = all(size is not None and np.prod(size, dtype=np.int64) <= MAX_FOLDED for size in sizes)
    return is_small and all(name in tensors for name in names)


def _static_shape(value: ValueInfoProto) -> tuple[int, ...] | None:
    """Return a tensor's shape, None unless all of it is known."""
    kind = value.type.tensor_type
    if not kind.HasField("shape") or any(not dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return tuple(dim.dim_value for dim in kind.shape.dim)
