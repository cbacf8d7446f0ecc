"""Inputs and weights of the golden values. Both are sines, so that they need not be stored."""

import math
from collections.abc import Mapping

import torch


def sines(shape: tuple[int, ...], offset: float) -> torch.Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.7 + offset).reshape(shape)


def set_sine_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Fill a network of the WaveMix family: sines times 0.3, with positive variances."""
    state = model.double().eval().state_dict()
    for index, (name, tensor) in enumerate(sorted(state.items())):
        if not name.endswith("num_batches_tracked"):
            values = sines(tuple(tensor.shape), index) * 0.3
            state[name] = values.abs() + 0.5 if name.endswith("running_var") else values
    model.load_state_dict(state)
    return model


def make_normalised_sines(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return entries for LaMa's names and shapes that keep values near 1.

    Convolutions are sines times sqrt(2 / inputs); scales and variances are positive.
    """
    made = dict(state)
    for index, (name, tensor) in enumerate(sorted(state.items())):
        if name.endswith("num_batches_tracked"):
            continue
        values = sines(tuple(tensor.shape), index) * (0.3 if tensor.ndim < 4 else math.sqrt(2 / tensor[0].numel()))
        scales = name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1)
        made[name] = values.abs() + 0.5 if scales else values
    return made


def set_normalised_sine_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Fill LaMa with :func:`make_normalised_sines`."""
    model.double().eval().load_state_dict(make_normalised_sines(model.state_dict()))
    return model
