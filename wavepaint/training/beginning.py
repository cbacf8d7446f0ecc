"""What a run may begin from, and what it may go on with."""

from typing import Any

from torch import nn

from wavepaint.errors import CheckpointError
from wavepaint.models.checkpoint import Checkpoint, load_strictly
from wavepaint.training.config import TrainConfig

_FREE_TO_CHANGE = {"data": ("workers", "max_broken"), "optimization": ("save_every", "compile")}
"""Settings that may be others when a run is resumed, since no weight depends on them."""


def load_beginning(model: nn.Module, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Begin from a checkpoint's weights; modules that it does not have yet are left as they are."""
    if checkpoint.architecture.name != config.architecture:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture.name} network: expected {config.architecture}, as this "
            "configuration says (--init-from)."
        )
    fresh = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("wavemodules.") and ".".join(name.split(".")[:2]) not in _modules_of(checkpoint)
    }
    load_strictly(model, {**checkpoint.state, **fresh}, checkpoint.path)


def _modules_of(checkpoint: Checkpoint) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in checkpoint.state}


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
