"""PyTorch to ONNX, with dynamic batch, height and width."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import ConfigError, WavePaintError

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
        filled: Tensor = self.network(image, mask)
        return filled.clamp(0, 1)


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
        network: (image, mask) -> filled image, in evaluation mode, on the CPU, float32.
        size_multiple: Height and width are declared as multiples of this.
        path: The file to write.
        opset: Version of ONNX's default operator set.

    Raises:
        ConfigError: An opset that cannot be written.
        WavePaintError: The exporter refuses the network, or writes what is no valid model.
    """
    if opset not in OPSETS:
        raise ConfigError(f"the opset is {opset}: expected {OPSETS[0]} to {OPSETS[-1]} (--opset).")
    graph = InpaintingGraph(network).eval()
    # The smallest example that cannot be mistaken for a fixed size: batch above 1, height unlike width.
    image = torch.rand(2, 3, 4 * size_multiple, 6 * size_multiple)
    mask = (torch.rand(2, 1, 4 * size_multiple, 6 * size_multiple) > 0.5).float()
    batch = torch.export.Dim("N", max=MAX_BATCH)
    height = size_multiple * torch.export.Dim("h", max=MAX_SIDE // size_multiple)
    width = size_multiple * torch.export.Dim("w", max=MAX_SIDE // size_multiple)
    axes = {0: batch, 2: height, 3: width}
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                graph,
                (image, mask),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT_IMAGE, INPUT_MASK],
                output_names=[OUTPUT_IMAGE],
                dynamic_shapes={INPUT_IMAGE: axes, INPUT_MASK: axes},
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
    except torch.onnx.OnnxExporterError as error:
        raise WavePaintError(f"the network cannot be exported to ONNX: {_reason_of(error)}") from error
    _strip(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise WavePaintError(f"the exporter wrote an invalid model: {str(error).strip().splitlines()[0]}") from error
    onnx.save(model, path)


def _reason_of(error: BaseException) -> str:
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
