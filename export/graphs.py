"""The exported graphs: a network with its task's inputs and output."""

from typing import cast

import torch
from torch import Tensor, nn

from wavepaint.contract import IMAGE_CHANNELS, INPUT_MASK, Preprocessing, Task
from wavepaint.ops.dft import share_matrices


class InpaintingGraph(nn.Module):
    """The network with its output clamped to [0, 1]. Known pixels pass unchanged."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        with share_matrices():
            filled: Tensor = self.network(image, mask)
        return filled.clamp(0, 1)


class LogitsGraph(nn.Module):
    """A network that takes an image alone, and returns logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.network(image))


class NormalizedNetwork(nn.Module):
    """A network behind the normalisation that it was trained with, so that its input is an image in [0, 1].

    The normalisation is not composed with the first convolution, because that one pads the normalised image with zeros.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        mean, std = (
            torch.tensor(values).view(1, IMAGE_CHANNELS, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.network((image - self.mean) / self.std))


def make_graph(network: nn.Module, task: Task) -> nn.Module:
    """Return the graph that is exported for a task."""
    return InpaintingGraph(network) if INPUT_MASK in task.inputs else LogitsGraph(network)
