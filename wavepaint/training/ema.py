"""The running mean of a network's weights."""

import copy

import torch
from torch import nn


class EMA:
    """An exponential moving average of weights and batch statistics.

    The mean leans on the last weights in the first steps: the decay of step n is min(decay, (1 + n) / (10 + n)), so
    that the random weights of the start are soon forgotten.

    Args:
        model: Whose weights to follow; it is copied.
        decay: Share of the former mean that is kept each step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in a step's weights. What is not floating point (counters) is copied."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        means = self.model.state_dict()
        floating: list[str] = []
        state = model.state_dict()
        for name, value in state.items():
            if value.is_floating_point():
                floating.append(name)
            else:
                means[name].copy_(value)
        torch._foreach_lerp_([means[n] for n in floating], [state[n] for n in floating], 1 - decay)
