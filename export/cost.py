"""The cost of running an exported model: multiply-accumulates and peak activation memory."""

import contextlib
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, SizeLimits
from wavepaint.errors import OutputError
from wavepaint.runtime.engines.session import Tensor, make_batch
from wavepaint.runtime.sizes import SizeRange

SIDE = 256
"""Side of the measured image, in pixels. Transforms over whole rows cost more per pixel at larger sizes."""

_BYTES = {"float": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "bool": 1, "uint8": 1, "double": 8}

_OTHER_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost per pixel of an image of 256x256 pixels.

    Attributes:
        macs_per_pixel: Multiply-accumulates of convolutions and matrix products, with the hole of
            :func:`~wavepaint.runtime.engines.session.make_batch`, which races use. A search for matches costs more with
            a larger hole.
        activation_bytes_per_pixel: Peak size, where everything is hole, of the tensors that are alive at one time. A
            tensor lives from the node that writes it to the last node that reads it, in the file's order, and is never
            reused in place. Engines need more for their layouts, scratch memory and allocators; each has a factor for
            that.
    """

    macs_per_pixel: float
    activation_bytes_per_pixel: float


def measure_cost(path: Path, size_multiple: int, limits: SizeLimits | None = None) -> Cost:
    """Return the cost of an ONNX model with float32 inputs and outputs, from the shapes in ONNX Runtime's profile.

    Args:
        path: The model.
        size_multiple: Height and width must be multiples of this.
        limits: Smallest and largest size that the model takes; None if it takes any.

    Raises:
        OutputError: The profile could not be written to the folder of temporary files.
    """
    graph = onnx.load(path).graph
    size = SizeRange.from_limits(limits).clamp((1, SIDE, SIDE), size_multiple)
    image, mask = make_batch(*size)
    shapes, sizes = _observe(path, graph, {INPUT_IMAGE: image, INPUT_MASK: mask})
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    num_macs = 0
    for node in graph.node:
        with contextlib.suppress(KeyError):  # ONNX Runtime expands a few operators into others with other names
            num_macs += _count_macs(node, shapes)
    if any(node.op_type == "NonZero" for node in graph.node):  # sizes depend on the hole
        _, sizes = _observe(path, graph, {INPUT_IMAGE: image, INPUT_MASK: np.ones_like(mask)})
    last_read = {name: index for index, node in enumerate(graph.node) for name in node.input}
    alive = peak = sum(sizes[value.name] for value in graph.input)
    for index, node in enumerate(graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, alive)
        alive -= sum(sizes.get(name, 0) for name in set(node.input) if last_read[name] == index)
    num_pixels = math.prod(size)
    return Cost(macs_per_pixel=num_macs / num_pixels, activation_bytes_per_pixel=peak / num_pixels)


def _observe(
    path: Path, graph: onnx.GraphProto, tensors: dict[str, Tensor]
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Run a model once, unoptimized; return the shape and the size in bytes of every tensor that its nodes write."""
    inputs = {value.name: tensors[value.name] for value in graph.input}
    shapes: dict[str, tuple[int, ...]] = {name: tensor.shape for name, tensor in inputs.items()}
    sizes = {name: tensor.nbytes for name, tensor in inputs.items()}
    nodes = {node.name: node for node in graph.node}
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.enable_profiling = True
        options.intra_op_num_threads = 1  # a second thread saves little in one run, and spins
        options.profile_file_prefix = str(Path(folder) / "run")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session.run(None, inputs)
        profile = Path(session.end_profiling())
        try:
            events = json.loads(profile.read_text())
        except (OSError, ValueError) as error:  # ONNX Runtime does not report a failed write
            raise OutputError(
                f"ONNX Runtime's profile in {folder} is incomplete, probably because that disk is full. Free some "
                "space there, or name another folder for temporary files in TMPDIR."
            ) from error
    for event in events:
        node = nodes.get(event["name"].removesuffix("_kernel_time"))
        if event.get("cat") != "Node" or node is None:
            continue
        for name, described in zip(node.output, event["args"].get("output_type_shape", []), strict=False):
            ((kind, shape),) = described.items()
            shapes[name] = tuple(shape)
            sizes[name] = math.prod(shape) * _BYTES.get(kind, _OTHER_BYTES)
    return shapes, sizes


def _count_macs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type == "Conv":
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in ("MatMul", "Gemm"):
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-2 if transposed else -1]
    return 0
