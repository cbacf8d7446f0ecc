"""A TorchScript file like the ``big-lama.pt`` that LaMa's users have: the same layout, seeded weights.

The released file is a traced wrapper around the training module, so its weights are named ``model.generator.model...``
and its inputs are an image and a mask. Random weights are as fast as trained ones.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavepaint.atomic import write_file
from wavepaint.bench.entrants import BASELINES
from wavepaint.optional import require

if TYPE_CHECKING:
    from torch import nn

RELEASED = "big-lama"
"""The baseline with the architecture of the released file."""

_SEED = 0
_CALIBRATION_SIDE, _TRACED_SIDE = 128, 64


def write_big_lama(path: Path, network: "nn.Module | None" = None) -> None:
    """Write a TorchScript file in the layout of the released ``big-lama.pt``.

    Args:
        path: The file; an existing one is replaced.
        network: A network of LaMa's architecture; None for one of 18 blocks with seeded weights.

    Raises:
        EngineError: PyTorch is not installed.
    """
    torch: Any = require("torch", extra="train")
    generator: Any = network or _build_seeded()

    class Training(torch.nn.Module):
        """The level of the training module, which only adds a prefix to the names of the weights."""

        def __init__(self) -> None:
            super().__init__()
            self.generator: Any = generator

        def forward(self, image: Any, mask: Any) -> Any:
            # The programs pass the mask as integers.
            predicted = self.generator.predict(image * (1 - mask), mask.to(image.dtype))
            return mask * predicted + (1 - mask) * image

    class Wrapper(torch.nn.Module):
        """The level of the authors' wrapper for traces."""

        def __init__(self) -> None:
            super().__init__()
            self.model: Any = Training()

        def forward(self, image: Any, mask: Any) -> Any:
            return self.model(image, mask)

    image = torch.rand(1, 3, _TRACED_SIDE, _TRACED_SIDE)
    mask = (torch.rand(1, 1, _TRACED_SIDE, _TRACED_SIDE) > 0.5) * 1
    with torch.no_grad(), warnings.catch_warnings(), write_file(path, overwrite=True) as temporary:
        warnings.simplefilter("ignore")  # the trace takes smallest sides as constant, and they are
        torch.jit.trace(Wrapper().eval(), (image, mask), check_trace=False).save(str(temporary))


def _build_seeded() -> "nn.Module":
    """Build the network, and set the statistics of its normalizations, so that no feature grows from block to block."""
    import torch

    from wavepaint.models.registry import build_model

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)
        network = build_model(*BASELINES[RELEASED])
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the average over all batches, here one
        side = _CALIBRATION_SIDE
        network.train()(torch.rand(2, 3, side, side), (torch.rand(2, 1, side, side) > 0.8).float())
    return network.eval()
