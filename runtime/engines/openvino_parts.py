"""A model in OpenVINO's CPU plugin, in one part or in two.

OpenVINO computes a whole graph in the precision that it is asked for. In bfloat16 the search for matched details goes
wrong: it compares windows by their squared differences, which are small differences of large products. The default
model had 36 to 47 dB inside the holes of photographs with it, and has 57 to 63 dB with the search in float32, where
half of what bfloat16 saves is left. So a model that multiplies matrices before its first convolution over channels is
cut there: everything before is compiled for float32, and the network for bfloat16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wavepaint.runtime.engines.session import Tensor

_HINTS: dict[str, str] = {"float32": "f32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class CompiledParts:
    """A compiled model.

    Attributes:
        inputs: OpenVINO's ports of the model's inputs.
        outputs: Those of its outputs.
        requests: A request for each part, in order. The second part's first inputs are the first part's outputs.
        read_again: Names of the model's inputs that the second part reads, too.
    """

    inputs: list[Any]
    outputs: list[Any]
    requests: list[Any]
    read_again: tuple[str, ...]

    def infer(self, inputs: Mapping[str, Tensor]) -> Any:
        """Return OpenVINO's results for inputs by name. The next call does not change them."""
        given: dict[Any, Any] = dict(inputs)
        *before, last = self.requests
        for request in before:
            request.infer(given)
            given = dict(enumerate(request.output_tensors)) | {name: inputs[name] for name in self.read_again}
        # With shared memory the result would be the request's own buffer.
        return last.infer(given, share_outputs=False)


def compile_parts(openvino: Any, core: Any, path: str, precision: str, config: Mapping[str, str]) -> CompiledParts:
    """Compile a model for the CPU.

    Args:
        openvino: The module.
        core: Its core.
        path: An ONNX file.
        precision: "float32" or "bfloat16".
        config: OpenVINO's other options.
    """
    models: list[Any] = [path]
    read_again: tuple[str, ...] = ()
    if precision == "bfloat16":
        model = core.read_model(path)
        if before := _find_before(model):
            models, read_again = _cut(openvino, model, before)
    precisions = ["float32"] * (len(models) - 1) + [precision]
    compiled = [
        core.compile_model(part, "CPU", {**config, "INFERENCE_PRECISION_HINT": _HINTS[wanted]})
        for part, wanted in zip(models, precisions, strict=True)
    ]
    requests = [part.create_infer_request() for part in compiled]
    return CompiledParts(compiled[0].inputs, compiled[-1].outputs, requests, read_again)


def _cut(openvino: Any, model: Any, before: Mapping[str, Any]) -> tuple[list[Any], tuple[str, ...]]:
    """Return a model of the nodes ``before``, one of the rest, and the names of the inputs that both read."""
    # The two parts get nodes of their own, because an input of the rest is detached from what comes before.
    rest = model.clone()
    values, parameters, kept = [], [], []
    for node in rest.get_ordered_ops():
        if node.get_friendly_name() not in before or node.get_type_name() == "Constant":
            continue
        for output in node.outputs():
            readers = [port for port in output.get_target_inputs() if port.get_node().get_friendly_name() not in before]
            if not readers:
                continue
            if node.get_type_name() == "Parameter":
                kept.append(node)
                continue
            parameter = openvino.op.Parameter(output.get_element_type(), output.get_partial_shape())
            for port in readers:
                port.replace_source_output(parameter.output(0))
            values.append(before[node.get_friendly_name()].output(output.get_index()))
            parameters.append(parameter)
    first = openvino.Model(values, model.get_parameters())
    second = openvino.Model(rest.get_results(), [*parameters, *kept])
    return [first, second], tuple(node.output(0).get_any_name() for node in kept)


def _find_before(model: Any) -> dict[str, Any]:
    """Return the nodes, by name, that the first convolution over channels needs; none if none multiplies matrices."""
    found: dict[str, Any] = {}
    todo = next(
        (
            [node.input_value(0).get_node()]
            for node in model.get_ordered_ops()
            if node.get_type_name() == "Convolution"
            and (shape := node.input(1).get_partial_shape()).is_static
            and shape.to_shape()[1] > 1
        ),
        [],
    )
    while todo:
        node = todo.pop()
        if node.get_friendly_name() not in found:
            found[node.get_friendly_name()] = node
            todo += [value.get_node() for value in node.input_values()]
    return found if any(node.get_type_name() == "MatMul" for node in found.values()) else {}
