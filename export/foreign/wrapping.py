"""Wrap a described network into a graph by the contract: its conversions become nodes at its edges.

Every engine, and everything around it, then runs the network like an exported one. The nodes repeat
:mod:`wavepaint.export.foreign.reference` in the same order, in float32.
"""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import ForeignModelError
from wavepaint.export.foreign.description import Colour
from wavepaint.export.foreign.inspection import find_reason
from wavepaint.export.foreign.matching import Binding

NETWORK = "network/"
"""Prefix of the names inside the network."""

EDGES = "description/"
"""Prefix of the names of the conversions."""

MIN_OPSET = 13
"""Oldest opset whose operators the conversions use. Older files are converted."""

NEW_OPSET = 17

MIN_IR_VERSION = 8
"""Before IR version 4 constants had to be inputs, too. Opset 13 came with 7, opset 15 with 8."""


class _Edges:
    """Collects nodes and constants with generated names."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = f"{EDGES}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return output or name

    def cast(self, value: str, dtype: str) -> str:
        """Convert a float32 tensor to a type; to an integer by rounding."""
        if dtype == "float32":
            return value
        value = self.add("Round", value) if dtype == "uint8" else value
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"{EDGES}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def swap_colours(self, image_NCHW: str, colour: Colour) -> str:
        """Convert RGB to a colour order, or back."""
        order = self.constant([2, 1, 0], np.int64) if colour == "BGR" else ""
        return self.add("Gather", image_NCHW, order, axis=1) if order else image_NCHW


def prepare(model: ModelProto) -> ModelProto:
    """Return a copy of a network for :func:`wrap`: nodes with names of their own, and a prefix before all names.

    Raises:
        ForeignModelError: The file's opset is too old and cannot be converted.
    """
    return _rename(_update(model))


def wrap(network: ModelProto, binding: Binding) -> ModelProto:
    """Return a model by the contract, with float32 inputs and outputs.

    Args:
        network: A network, as :func:`prepare` returns it, with the described inputs and outputs.
        binding: Its description.

    Raises:
        ForeignModelError: The network cannot be connected to the conversions.
    """
    model: ModelProto = ModelProto.FromString(network.SerializeToString())
    edges = _Edges()
    hole = edges.add("Greater", INPUT_MASK, edges.constant(0.5))
    network_inputs = {**_add_inputs(edges, binding, hole), **_add_constants(edges, binding)}
    num_before = len(edges.nodes)
    _add_result(edges, binding, hole)
    graph = model.graph
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = network_inputs.get(name, name)
    nodes = [*edges.nodes[:num_before], *graph.node, *edges.nodes[num_before:]]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(edges.constants)
    _declare(graph, binding)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ForeignModelError(f"the network does not fit its description: {find_reason(error)}.") from error
    return model


def _update(model: ModelProto) -> ModelProto:
    """Return a copy with an opset that has the operators of the conversions."""
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if opset >= MIN_OPSET:
        copied: ModelProto = ModelProto.FromString(model.SerializeToString())
        return copied
    try:
        converted: ModelProto = version_converter.convert_version(model, NEW_OPSET)
        return converted
    except Exception as error:  # the converter is C++ and raises all kinds of errors
        raise ForeignModelError(
            f"the file has opset {opset}, and cannot be converted to {NEW_OPSET} ({find_reason(error)}). Export it "
            f"with opset {NEW_OPSET}."
        ) from error


def _rename(model: ModelProto) -> ModelProto:
    """Give every node a name of its own, make constants initializers, and put a prefix before all names."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(values)
    nodes = [*graph.node]
    del graph.node[:]
    for number, node in enumerate(nodes):
        if node.op_type == "Constant" and (found := _read_constant(node)) is not None:
            graph.initializer.append(found)
            continue
        node.name = f"{node.op_type}_{number}"
        graph.node.append(node)
    renamed: ModelProto = onnx.compose.add_prefix(model, NETWORK)
    renamed.ir_version = max(renamed.ir_version, MIN_IR_VERSION)
    return renamed


def _read_constant(node: NodeProto) -> TensorProto | None:
    """Return the tensor of a node Constant; None for a sparse one or strings."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in dtype:
        return None
    return numpy_helper.from_array(np.asarray(value, dtype[attribute.name]), node.output[0])


def _add_inputs(edges: _Edges, binding: Binding, hole: str) -> dict[str, str]:
    """Add the conversions of image and mask. Return the tensors that take the places of the network's inputs."""
    description = binding.description
    low, high = description.image_range
    image = INPUT_IMAGE
    if high - low != 1:
        image = edges.add("Mul", image, edges.constant(high - low))
    if low:
        image = edges.add("Add", image, edges.constant(low))
    if description.hole is not None:
        image = edges.add("Where", hole, edges.constant(description.hole), image)
    image = edges.swap_colours(image, description.colour)
    known, marked = description.mask_values
    mask = (
        INPUT_MASK
        if (known, marked) == (0, 1)
        else edges.add("Where", hole, edges.constant(marked), edges.constant(known))
    )
    tensors = {description.image: image, description.mask: mask}
    if description.is_joint:
        both = (mask, image) if description.mask_first else (image, mask)
        tensors = {description.image: edges.add("Concat", *both, axis=1)}
    found = {}
    for name, value in tensors.items():
        if description.layout == "NHWC":
            value = edges.add("Transpose", value, perm=[0, 2, 3, 1])
        tensor = binding.mask if name == description.mask and not description.is_joint else binding.image
        found[NETWORK + name] = edges.cast(value, tensor.dtype)
    return found


def _add_constants(edges: _Edges, binding: Binding) -> dict[str, str]:
    """Add the further inputs. One that has an axis for a batch of any size is repeated for each image."""
    found = {}
    for name, value in binding.constants.items():
        constant = edges.constant(value, value.dtype)
        if name in binding.batched:
            batch = edges.add("Gather", edges.add("Shape", INPUT_IMAGE), edges.constant([0], np.int64))
            shape = edges.add("Concat", batch, edges.constant(value.shape[1:], np.int64), axis=0)
            constant = edges.add("Expand", constant, shape)
        found[NETWORK + name] = constant
    return found


def _add_result(edges: _Edges, binding: Binding, hole: str) -> None:
    """Add the conversions of the result, and put the known pixels back."""
    description = binding.description
    result = NETWORK + description.result
    if binding.result.dtype != "float32":
        result = edges.add("Cast", result, to=TensorProto.FLOAT)
    if description.layout == "NHWC":
        result = edges.add("Transpose", result, perm=[0, 3, 1, 2])
    result = edges.swap_colours(result, description.colour)
    low, high = description.result_range
    if low:
        result = edges.add("Sub", result, edges.constant(low))
    if high - low != 1:
        result = edges.add("Div", result, edges.constant(high - low))
    result = edges.add("Clip", result, edges.constant(0), edges.constant(1))
    edges.add("Where", hole, result, INPUT_IMAGE, output=OUTPUT_IMAGE)


def _declare(graph: onnx.GraphProto, binding: Binding) -> None:
    """Declare the inputs and the output of the contract, with the sizes that are fixed."""
    sides = (low if low == high else name for name, low, high in zip("NHW", *binding.limits, strict=True))
    batch, height, width = sides
    for name, channels, values in (
        (INPUT_IMAGE, IMAGE_CHANNELS, graph.input),
        (INPUT_MASK, 1, graph.input),
        (OUTPUT_IMAGE, IMAGE_CHANNELS, graph.output),
    ):
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, channels, height, width]))
