"""The exponential moving average of a network's weights."""

import copy
from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA:
    """An exponential moving average of weights and batch statistics.

    The decay of step n is min(decay, (1 + n) / (10 + n)), so that the random initial weights fade quickly.

    :class:`torch.optim.swa_utils.AveragedModel` is not used: its decay cannot change, and it waits for the GPU at
    every step.

    Args:
        model: The network to follow. It is copied.
        decay: Share of the former mean that each step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Average in the weights after a step. Integers (counters) are copied."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        averaged, current = (list(chain(network.parameters(), network.buffers())) for network in (self.model, model))
        floats = [index for index, tensor in enumerate(averaged) if tensor.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([averaged[i] for i in floats], [current[i] for i in floats], None)
        for mean, value in zip(averaged, current, strict=True):
            if not mean.is_floating_point():
                mean.copy_(value)
