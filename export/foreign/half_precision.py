"""Checked float16 for a network of another project: float32 inputs and outputs, float16 inside where that is enough.

Operators are converted by ONNX Runtime's own converter. If a value overflows or the error exceeds the budget, a minimal
set of stretches of the network stays in float32.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np
import onnxruntime as ort
from onnx import GraphProto, ModelProto, TensorProto
from onnxruntime.transformers import float16

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import VerificationError
from wavepaint.export.cases import Image
from wavepaint.export.foreign.matching import Binding
from wavepaint.export.foreign.wrapping import NETWORK, wrap
from wavepaint.export.minimal_set import find_minimal
from wavepaint.runtime.engines.comparison import HALF_MIN_PSNR_DB, measure_psnr_hole_db
from wavepaint.runtime.engines.session import first_line

MAX_STRETCHES = 32
"""Stretches of neighbouring operators of which some may stay in float32. More would take longer to find."""

_ADDED = re.compile(r".*_cast_to_fp(16|32)_node|graph_(input|output)_cast\d+")
"""Names of the conversions that the converter adds."""

Stretch = tuple[str, ...]
"""Names of neighbouring operators."""


@dataclass(frozen=True)
class HalfResult:
    """A float16 model.

    Attributes:
        model: The model by the contract.
        kept_float32: The stretches that stay in float32, each as its first and last operator.
    """

    model: ModelProto
    kept_float32: list[str]


def to_half(
    network: ModelProto,
    binding: Binding,
    cases: Sequence[tuple[Image, ...]],
    expected: Sequence[Image],
    on_stage: Callable[[str], None] = lambda stage: None,
) -> HalfResult:
    """Convert a network to float16, and keep as little in float32 as the budget allows.

    Args:
        network: See :func:`wavepaint.export.foreign.wrapping.wrap`.
        binding: Its description.
        cases: Images and masks to measure with.
        expected: The results of the float32 network.
        on_stage: Called before each measurement.

    Raises:
        VerificationError: No conversion reaches the budget.
    """
    names = [node.name for node in network.graph.node]
    length = -(-len(names) // MAX_STRETCHES)
    stretches = [tuple(names[start : start + length]) for start in range(0, len(names), length)]
    measured: dict[frozenset[Stretch], bool] = {}

    def passes(kept: list[Stretch]) -> bool:
        key = frozenset(kept)
        if key not in measured:
            on_stage(f"finding what needs float32, attempt {len(measured) + 1}")
            measured[key] = _reaches_budget(_convert(network, binding, kept), cases, expected)
        return measured[key]

    try:
        needed = [] if passes([]) else find_minimal(stretches, passes) if passes(stretches) else None
    except Exception as error:  # the converter, the checker and ONNX Runtime raise all kinds of exceptions
        raise VerificationError(
            f"the network cannot be converted to float16 ({first_line(error)}). Leave out --fp16."
        ) from error
    if needed is None:
        raise VerificationError(
            "the network cannot be converted to float16: the PSNR inside the hole stays below "
            f"{HALF_MIN_PSNR_DB:g} dB. Leave out --fp16."
        )
    kept = [f"{stretch[0]} to {stretch[-1]}".replace(NETWORK, "") for stretch in needed]
    return HalfResult(_convert(network, binding, needed), kept)


def _convert(network: ModelProto, binding: Binding, kept: Sequence[Stretch]) -> ModelProto:
    """Return a model by the contract whose network is float16 apart from some stretches."""
    copied: ModelProto = ModelProto.FromString(network.SerializeToString())
    blocked = [name for stretch in kept for name in stretch]
    half = float16.convert_float_to_float16(copied, keep_io_types=True, node_block_list=blocked)
    del half.graph.value_info[:]
    _join_casts(half.graph)
    _sort(half.graph)
    return wrap(half, binding)


def _join_casts(graph: GraphProto) -> None:
    """Let neighbours that stay in float32 pass float32 on. The converter rounds to float16 between them."""
    casts = [node for node in graph.node if node.op_type == "Cast" and _ADDED.fullmatch(node.name)]
    sources = {node.output[0]: node.input[0] for node in casts if node.attribute[0].i == TensorProto.FLOAT16}
    for node in casts:
        if node.attribute[0].i == TensorProto.FLOAT:
            node.input[0] = sources.get(node.input[0], node.input[0])
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    unread = [node for node in casts if node.output[0] not in read]
    for node in unread:
        graph.node.remove(node)


def _sort(graph: GraphProto) -> None:
    """Put nodes behind those whose outputs they read. The converter appends its conversions at the end."""
    writers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    sorter = TopologicalSorter(
        {index: {writers[name] for name in node.input if name in writers} for index, node in enumerate(graph.node)}
    )
    nodes = [graph.node[index] for index in sorter.static_order()]
    del graph.node[:]
    graph.node.extend(nodes)


def _reaches_budget(model: ModelProto, cases: Sequence[tuple[Image, ...]], expected: Sequence[Image]) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for (image, mask), wanted in zip(cases, expected, strict=True):
        (output,) = session.run([OUTPUT_IMAGE], {INPUT_IMAGE: image, INPUT_MASK: mask})
        if not np.isfinite(output).all() or measure_psnr_hole_db(output, wanted, mask) < HALF_MIN_PSNR_DB:
            return False
    return True
