"""Layer outputs of a PyTorch network are read without leaving hooks in it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wavepaint.export.layers import torch_layers


class Small(nn.Module):
    """A network with two layers, the second of which may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        output: Tensor = self.second(self.first(torch.cat([image, mask], dim=1)))
        return output


def test_hooks_are_removed_after_every_run() -> None:
    network = Small()
    layers = torch_layers(network)
    image, mask = np.ones((1, 3, 4, 4), np.float32), np.zeros((1, 1, 4, 4), np.float32)
    assert set(layers(image, mask)) == {"first", "second", "image_out"}
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(RuntimeError):
        layers(image[..., :3], mask)
    assert not any(module._forward_hooks for module in network.modules())
    assert set(layers(image, mask)) == {"first", "second", "image_out"}
