"""Classifiers and segmenters behind the normalisation of their images."""

from typing import cast

import torch
from torch import Tensor, nn

from wavepaint.contract import IMAGE_CHANNELS, Preprocessing


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
