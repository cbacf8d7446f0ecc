"""PyTorch to ONNX, with dynamic batch, height and width."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import opset18 as op
from torch import Tensor, nn

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import ConfigError, WavePaintError
from wavepaint.ops.dft import share_matrices

OPSET = 20
"""The first opset with Gelu and the current Resize; TensorRT 10 and ONNX Runtime 1.17 read it."""

BFLOAT16_OPSET = 22
"""The first opset in which Conv takes bfloat16."""

OPSETS = range(18, 24)
"""What the exporter writes and ONNX Runtime has been seen to run."""

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key under which a node names the modules it belongs to, outermost first, as a Python list of names."""

MAX_SIDE = 16_384
MAX_BATCH = 1_024


class InpaintingGraph(nn.Module):
    """What is exported: the network, and its output clamped to the contract's range.

    Known pixels are in [0, 1] already and pass unchanged.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        with share_matrices():
            filled: Tensor = self.network(image, mask)
        return filled.clamp(0, 1)


def _subtract_from(self: Any, other: Any, alpha: Any = 1.0) -> Any:
    return op.Sub(op.CastLike(other, self), self if alpha == 1 else op.Mul(self, op.CastLike(alpha, self)))


def _cast(self: Any, dtype: int, non_blocking: bool = False, copy: bool = False, memory_format: str = "") -> Any:
    return op.Cast(self, to=dtype)


def _convolve_transposed(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Any:
    return op.ConvTranspose(
        input,
        weight,
        bias,
        strides=[*stride],
        pads=[*padding, *padding],
        output_padding=[*output_padding],
        group=groups,
        dilations=[*dilation],
    )


def _normalise_batch(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    return op.BatchNormalization(input, weight, bias, running_mean, running_var, epsilon=eps)


_TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.rsub.Scalar: _subtract_from,
    torch.ops.aten.to.dtype: _cast,
    torch.ops.aten.conv_transpose2d.input: _convolve_transposed,
    torch.ops.aten.batch_norm.default: _normalise_batch,
}
"""Operators of captured networks in evaluation mode that the exporter has no translation of, with their arguments."""


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter prints of its own stages; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def export_onnx(network: nn.Module, size_multiple: int, path: Path, *, opset: int = OPSET) -> None:
    """Write an inpainting network as one ONNX file by the contract.

    Args:
        network: (image, mask) -> filled image, in evaluation mode, on the CPU, float32. Its weights take no gradients
            any more.
        size_multiple: Height and width are declared as multiples of this.
        path: The file to write.
        opset: Version of ONNX's default operator set.

    Raises:
        ConfigError: An opset that cannot be written.
        WavePaintError: The exporter refuses the network, or writes what is no valid model.
    """
    if opset not in OPSETS:
        raise ConfigError(f"the opset is {opset}: expected {OPSETS[0]} to {OPSETS[-1]} (--opset).")
    graph = InpaintingGraph(network).eval().requires_grad_(False)  # gradients would be traced as well
    try:
        with _quiet_exporter():
            model = _translate(_capture(graph, size_multiple), opset)
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:  # torch.export raises the latter two
        raise WavePaintError(f"the network cannot be exported to ONNX: {_find_reason(error)}") from error
    _strip(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise WavePaintError(f"the exporter wrote an invalid model: {str(error).strip().splitlines()[0]}") from error
    onnx.save(model, path)


def _capture(graph: InpaintingGraph, size_multiple: int) -> torch.export.ExportedProgram:
    # The smallest example that cannot be mistaken for a fixed size: batch above 1, height unlike width.
    image = torch.rand(2, 3, 4 * size_multiple, 6 * size_multiple)
    mask = (torch.rand(2, 1, 4 * size_multiple, 6 * size_multiple) > 0.5).float()
    batch = torch.export.Dim("N", max=MAX_BATCH)
    height = size_multiple * torch.export.Dim("h", max=MAX_SIDE // size_multiple)
    width = size_multiple * torch.export.Dim("w", max=MAX_SIDE // size_multiple)
    axes = {0: batch, 2: height, 3: width}
    return torch.export.export(graph, (image, mask), dynamic_shapes={INPUT_IMAGE: axes, INPUT_MASK: axes})


def _translate(program: torch.export.ExportedProgram, opset: int) -> onnx.ModelProto:
    """Return the ONNX model of a captured network.

    The exporter would first trace the program once more to decompose operators that it does not know. With symbolic
    sizes that takes as long as the capture. Networks here use only four such operators, for which
    :data:`_TRANSLATIONS` has translations, so the program is translated as it was captured.
    """
    program.run_decompositions = lambda *arguments, **options: program
    translated = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=opset,
        input_names=[INPUT_IMAGE, INPUT_MASK],
        output_names=[OUTPUT_IMAGE],
        custom_translation_table=_TRANSLATIONS,
        verbose=False,
    )
    assert translated is not None
    model: onnx.ModelProto = translated.model_proto
    return model


def _find_reason(error: BaseException) -> str:
    """Return the first line of the error that began it all; the exporter's own speaks of its stages."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _strip(model: onnx.ModelProto) -> None:
    """Keep of the exporter's notes on each node the modules it belongs to; the rest tells of this machine's files."""
    for node in model.graph.node:
        scopes = [note for note in node.metadata_props if note.key == SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(scopes)
        node.doc_string = ""
    del model.graph.metadata_props[:], model.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
