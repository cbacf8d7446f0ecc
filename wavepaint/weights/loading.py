"""Loading a state dict into a network, strictly."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from wavepaint.errors import CheckpointError


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict in which no entry is missing or left over, and all values are finite.

    Settings of the network (integer entries except BatchNorm's counters) must equal the model's own.

    Args:
        model: Gets the weights.
        state: Names to tensors.
        path: Their file, for messages.

    Raises:
        CheckpointError: An entry does not fit; the message names it.
    """
    expected = model.state_dict()
    missing = sorted(expected.keys() - state.keys())
    extra = sorted(state.keys() - expected.keys())
    if missing or extra:
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, kind in ((missing, "missing"), (extra, "unexpected"))
            if names
        ]
        raise CheckpointError(f"{path}: the weights do not fit {type(model).__name__}: {' and '.join(parts)} entries.")
    for name, tensor in state.items():
        is_setting = not tensor.is_floating_point() and not name.endswith(".num_batches_tracked")
        if is_setting and tensor.tolist() != expected[name].tolist():
            raise CheckpointError(
                f"{path}: its {name} is {tensor.tolist()}, and this network's is {expected[name].tolist()}. "
                "Use weights with the same hyper-parameters."
            )
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}."
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} contains NaN or infinite values; the weights are damaged.")
    model.load_state_dict(dict(state), strict=True)
