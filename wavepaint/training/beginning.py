"""What a run may begin from, and what it may go on with."""

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.errors import CheckpointError
from wavepaint.models.checkpoint import Checkpoint, load_strictly
from wavepaint.training.config import TrainConfig

_LEVEL = re.compile(r"\.feedforward[1-4]")
_FREE_TO_CHANGE = {"data": ("workers", "max_broken"), "optimization": ("save_every", "compile")}
"""Settings that may be others when a run is resumed, since no weight depends on them."""


def load_beginning(model: nn.Module, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Begin from a checkpoint's weights; what it does not have yet begins without an effect.

    That is further modules of WavePaint, left as they are (the caller has made them begin as no change), and further
    wavelet levels of its blocks: the level above, until now the deepest, gets inputs of weight 0 for the new one's
    result.
    """
    if checkpoint.architecture.name != config.architecture:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture.name} network: expected {config.architecture}, as this "
            "configuration says (--init-from)."
        )
    state = model.state_dict()
    # A block's only level has no number.
    begun = {
        name if name in state else name.replace(".feedforward.", ".feedforward1."): tensor
        for name, tensor in checkpoint.state.items()
    }
    known = {_part_of(name) for name in begun}
    for name, tensor in state.items():
        if name.startswith("wavemodules.") and _part_of(name) not in known:
            begun[name] = tensor
        elif _LEVEL.search(name) and name in begun:
            begun[name] = _add_inputs(begun[name], tensor.shape)
    load_strictly(model, begun, checkpoint.path)


def _part_of(name: str) -> str:
    """Return what can be new as a whole: a level of a block, "wavemodules.0.layers.1.feedforward4", else a module."""
    level = _LEVEL.search(name)
    return name[: level.end()] if level else ".".join(name.split(".")[:2])


def _add_inputs(weight: Tensor, shape: torch.Size) -> Tensor:
    """Widen a convolution by inputs of weight 0 if that gives it the shape (out, in, 1, 1) wanted."""
    if weight.ndim != 4 or len(shape) != 4 or weight.shape[1] >= shape[1] or weight.shape[0] != shape[0]:
        return weight
    return F.pad(weight, (0, 0, 0, 0, 0, shape[1] - weight.shape[1]))


def find_differences(saved: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the names of settings that differ and matter, sections' names before a dot."""
    differing = []
    for key in sorted(saved.keys() | new.keys()):
        a, b = saved.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and key != "hyper_parameters":
            free = _FREE_TO_CHANGE.get(key, ())
            differing += [n for n in sorted(a.keys() | b.keys()) if a.get(n) != b.get(n) and n not in free]
        elif a != b:
            differing.append(key)
    return differing
