"""The exported graphs: a network with its task's inputs and output."""

from typing import cast

from torch import Tensor, nn

from wavepaint.contract import INPUT_MASK, SUPER_RESOLUTION, Task
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


class UpscalingGraph(nn.Module):
    """A network that takes an image alone, and returns a larger one, clamped to [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.network(image)).clamp(0, 1)


def make_graph(network: nn.Module, task: Task) -> nn.Module:
    """Return the graph that is exported for a task."""
    if task is SUPER_RESOLUTION:
        return UpscalingGraph(network)
    return InpaintingGraph(network) if INPUT_MASK in task.inputs else LogitsGraph(network)
