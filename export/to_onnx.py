"""PyTorch to ONNX, with dynamic batch, height and width."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules
from torch import Tensor, nn

from wavepaint.contract import IMAGE_CHANNELS, INPAINTING, INPUT_MASK, SizeLimits, Task
from wavepaint.errors import WavePaintError
from wavepaint.export.graphs import make_graph
from wavepaint.export.translations import TRANSLATIONS

OPSET = 20
"""The first opset with Gelu and the current Resize; TensorRT 10 and ONNX Runtime 1.17 read it."""

BFLOAT16_OPSET = 22
"""The first opset in which Conv takes bfloat16."""

OPSETS = range(18, 24)
"""Versions that the exporter writes and ONNX Runtime runs."""

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key under which a node names the modules it belongs to, outermost first, as a Python list of names."""

MAX_SIDE = 16_384
MAX_BATCH = 1_024


_REWRITES = RewritePass(
    [
        rules.max_min_rule,
        rules.normalize_pad_format_conv_rule,
        rules.fuse_pad_into_conv_rule,
        rules.fuse_batchnorm_into_conv_rule,
        rules.fuse_batchnorm_into_conv_transpose_rule,
        rules.remove_optional_bias_from_conv_rule,
    ]
)
"""The rewrites that change a graph of this package. The exporter's own optimizer tries 40 more on every node, which
takes several times as long and changes nothing."""


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's messages; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def export_onnx(
    network: nn.Module,
    size_multiple: int,
    path: Path,
    *,
    opset: int = OPSET,
    task: Task = INPAINTING,
    limits: SizeLimits | None = None,
) -> None:
    """Write a network as one ONNX file by the contract.

    Args:
        network: (image, mask) -> filled image, or image -> logits; in evaluation mode, on the CPU. Its weights lose
            ``requires_grad``.
        size_multiple: Height and width are declared as multiples of this.
        path: The file to write.
        opset: Version of ONNX's default operator set.
        task: What goes in and comes out.
        limits: Smallest and largest size that the network takes, with equal sides; None if it takes any.

    Raises:
        WavePaintError: The exporter refuses the network, or writes an invalid model.
    """
    graph = make_graph(network, task).eval().requires_grad_(False)  # the exporter would capture gradients
    try:
        with _quiet_exporter():
            examples = _choose_examples(size_multiple, limits)
            program, at_other_size = _capture(graph, task, size_multiple, examples)
            model = _translate(program, task, opset, at_other_size, examples)
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:  # torch.export raises the latter two
        raise WavePaintError(f"the network cannot be exported to ONNX: {_find_reason(error)}") from error
    _strip(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise WavePaintError(f"the exporter wrote an invalid model: {str(error).strip().splitlines()[0]}") from error
    onnx.save(model, path)


@dataclass(frozen=True)
class _Example:
    """Batch, and height and width in size multiples, of the images that a network is captured with."""

    batch: int
    height: int
    width: int


def _choose_examples(size_multiple: int, limits: SizeLimits | None) -> tuple[_Example, _Example]:
    """Return two examples whose sides, halved a few times, rounding up, still differ from one another.

    Networks with a large size multiple get smaller ones, which stay below 500 MB up to a multiple of 512. A network of
    one size gets that size in two batches.
    """
    if limits is not None:
        height, width = (side // size_multiple for side in limits[0][1:])
        return _Example(2, height, width), _Example(3, height, width)
    if size_multiple > 64:
        return _Example(2, 5, 9), _Example(3, 8, 6)
    return _Example(2, 36, 71), _Example(3, 67, 42)


def _capture(
    graph: nn.Module, task: Task, size_multiple: int, examples: tuple[_Example, _Example]
) -> tuple[torch.export.ExportedProgram, torch.export.ExportedProgram | None]:
    """Return the network, captured at one size and at another; or captured with symbols for sizes, and None.

    Symbols take several times as long, because PyTorch proves the size of every layer. A network that gives the same
    program at both sizes reads none of them in Python, so it needs no symbols.
    """
    first, second = (_capture_example(graph, task, size_multiple, example) for example in examples)
    if first.graph_module.code == second.graph_module.code and _have_same_constants(first, second):
        return first, second
    batch = torch.export.Dim("N", max=MAX_BATCH)
    height = size_multiple * torch.export.Dim("h", max=MAX_SIDE // size_multiple)
    width = size_multiple * torch.export.Dim("w", max=MAX_SIDE // size_multiple)
    # The smallest example that cannot be mistaken for a fixed size: batch above 1, height unlike width.
    axes = {0: batch, 2: height, 3: width}
    return _capture_example(graph, task, size_multiple, _Example(2, 4, 6), axes=axes), None


def _capture_example(
    graph: nn.Module, task: Task, size_multiple: int, example: _Example, axes: dict[int, Any] | None = None
) -> torch.export.ExportedProgram:
    height, width = example.height * size_multiple, example.width * size_multiple
    inputs = tuple(
        torch.zeros(example.batch, 1 if name == INPUT_MASK else IMAGE_CHANNELS, height, width) for name in task.inputs
    )
    dynamic_shapes = None if axes is None else dict.fromkeys(task.inputs, axes)
    return torch.export.export(graph, inputs, dynamic_shapes=dynamic_shapes)


def _have_same_constants(first: torch.export.ExportedProgram, second: torch.export.ExportedProgram) -> bool:
    return first.constants.keys() == second.constants.keys() and all(
        isinstance(constant, Tensor) and torch.equal(constant, second.constants[name])
        for name, constant in first.constants.items()
    )


def _translate(
    program: torch.export.ExportedProgram,
    task: Task,
    opset: int,
    at_other_size: torch.export.ExportedProgram | None,
    examples: tuple[_Example, _Example],
) -> onnx.ModelProto:
    """Return the ONNX model of a captured network.

    The exporter would first trace the program once more to decompose operators that it does not know. Networks here use
    only a few such operators, which :mod:`wavepaint.export.translations` translates, so the program is translated as it
    was captured.

    Args:
        program: The network.
        task: What goes in and comes out.
        opset: Version of ONNX's default operator set.
        at_other_size: The same program captured at another size; None if ``program`` has symbols for sizes.
        examples: Batches and sides of the two.
    """
    program.run_decompositions = lambda *arguments, **options: program
    translated = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=opset,
        input_names=[*task.inputs],
        output_names=[task.output],
        custom_translation_table=TRANSLATIONS,
        optimize=False,  # see _optimize
        verbose=False,
    )
    assert translated is not None
    if at_other_size is not None:
        _name_sizes(translated.model, at_other_size, examples)
    _optimize(translated.model)
    model: onnx.ModelProto = translated.model_proto
    return model


def _optimize(model: ir.Model) -> None:
    """Fold constants, fuse what the engines would fuse, and remove duplicates, in place."""
    passes.InlinePass()(model)
    for _ in range(2):  # the second round folds what the first one fused
        fold_constants(model)
        _REWRITES(model)
        passes.RemoveUnusedNodesPass()(model)
    for tidy in (
        passes.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.NameFixPass(),
    ):
        tidy(model)


def _name_sizes(
    model: ir.Model, at_other_size: torch.export.ExportedProgram, examples: tuple[_Example, _Example]
) -> None:
    """Replace the sizes of an example by names, which are equal where both examples have equal sizes.

    Engines fuse more operators where they know that two tensors are of one size.
    """
    tensors = {node.name: node.meta.get("val") for node in at_other_size.graph.nodes}
    extended = _find_extended(at_other_size)
    signature = at_other_size.graph_signature
    names = dict(zip((value.name for value in model.graph.inputs), signature.user_inputs, strict=True))
    names |= dict(zip((value.name for value in model.graph.outputs), signature.user_outputs, strict=True))
    for value in (*model.graph.inputs, *(output for node in model.graph for output in node.outputs)):
        name = names.get(value.name, value.name)
        other = tensors.get(name)
        if value.shape is None:
            continue
        if not isinstance(other, Tensor) or len(other.shape) != len(value.shape):
            value.shape = None
            continue
        num_axes = len(value.shape)
        sides = zip(value.shape, other.shape, strict=True)
        sizes = (_name_size(one, two, axis, num_axes, examples) for axis, (one, two) in enumerate(sides))
        value.shape = ir.Shape(f"extended({size})" if name in extended and _is_side(size) else size for size in sizes)
    for value in model.graph.outputs:
        if value.shape is not None and len(value.shape) == 2:  # a classifier's (N, classes)
            value.shape = ir.Shape(["N", value.shape[1]])


def _find_extended(program: torch.export.ExportedProgram) -> set[str]:
    """Return the names of the maps whose sides follow from an extended map's: small images are smaller."""
    found: set[str] = set()
    for node in program.graph.nodes:
        is_extended = any(argument.name in found for argument in node.all_input_nodes)
        if node.target == torch.ops.wavepaint.extend.default or (
            is_extended and node.target != torch.ops.wavepaint.crop_like.default
        ):
            found.add(node.name)
    return found


def _is_side(size: int | str | None) -> bool:
    return isinstance(size, str) and not size.endswith("N")


def _name_size(one: Any, two: int, axis: int, num_axes: int, examples: tuple[_Example, _Example]) -> int | str | None:
    """Return "32*h" or the like for a size that differs between the examples, and None where it may vary elsewhere."""
    field = {0: "batch", num_axes - 2: "height", num_axes - 1: "width"}.get(axis) if num_axes >= 4 else None
    if isinstance(one, torch.SymInt) or isinstance(two, torch.SymInt):
        return None
    if one == two:
        is_fixed = field is None or getattr(examples[0], field) == getattr(examples[1], field)
        return one if is_fixed or field == "batch" else None
    if field is None:
        return None
    symbol = "N" if field == "batch" else field[0]
    first, second = (getattr(example, field) for example in examples)
    factor, rest = divmod(two - one, second - first)
    if rest:
        return f"{symbol}_{one}_{two}"  # rounded
    scaled = symbol if factor == 1 else f"{factor}*{symbol}"
    offset = one - factor * first
    return scaled if offset == 0 else f"{scaled} {'-' if offset < 0 else '+'} {abs(offset)}"


def _find_reason(error: BaseException) -> str:
    """Return the first line of the root error; the exporter's own message describes its stages."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's metadata, which names this machine's files. Keep the names of each node's modules."""
    for node in model.graph.node:
        scopes = [note for note in node.metadata_props if note.key == SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(scopes)
        node.doc_string = ""
    del model.graph.metadata_props[:], model.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
