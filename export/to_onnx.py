"""PyTorch to ONNX, with dynamic batch, height and width."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE
from wavepaint.errors import WavePaintError

OPSET = 20
"""The first opset with Gelu and the current Resize; TensorRT 10 and ONNX Runtime 1.17 read it."""

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


def export_onnx(network: nn.Module, size_multiple: int, path: Path) -> None:
    """Write an inpainting network as one ONNX file by the contract.

    Args:
        network: (image, mask) -> filled image, in evaluation mode, on the CPU, float32.
        size_multiple: Height and width are declared as multiples of this.
        path: The file to write.

    Raises:
        WavePaintError: The exporter refuses the network.
    """
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
                opset_version=OPSET,
                input_names=[INPUT_IMAGE, INPUT_MASK],
                output_names=[OUTPUT_IMAGE],
                dynamic_shapes={INPUT_IMAGE: axes, INPUT_MASK: axes},
                verbose=False,
            )
            assert program is not None
            program.save(path)
    except torch.onnx.OnnxExporterError as error:
        raise WavePaintError(f"the network cannot be exported to ONNX: {str(error).splitlines()[0]}") from error
