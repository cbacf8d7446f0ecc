"""The patch discriminator of adversarial training."""

from typing import Literal

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.training.loss_config import LossConfig

Norm = Literal["batch", "none"]


class PatchDiscriminator(nn.Module):
    """Classifies every patch of an image separately as real or filled.

    The receptive field is 70x70 pixels with three strided layers, as in pix2pix, and 142x142 with the four of LaMa's
    released configuration.

    Source: P. Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section 3.2.2;
    ``NLayerDiscriminator`` of LaMa's code, itself from pix2pixHD.

    Args:
        in_channels: 3 for the image, or 4 for the image and its mask.
        channels: Channels of the first layer. Each layer doubles them, up to 8 times as many.
        num_layers: Number of layers of stride 2.
        norm: "batch" as in LaMa, or "none". A gradient penalty needs "none": it limits the gradient of each image,
            while BatchNorm makes each logit depend on the whole batch (Gulrajani et al. 2017, section 4).

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, in_channels: int = 3, *, channels: int = 64, num_layers: int = 3, norm: Norm = "batch") -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise ConfigError(f"the discriminator's in_channels is {in_channels}: expected 3, or 4 with the mask.")
        if channels < 1 or num_layers < 1 or norm not in ("batch", "none"):
            raise ConfigError(
                f"the discriminator has channels {channels}, num_layers {num_layers} and norm {norm!r}: expected 1 or "
                'more, 1 or more, and "batch" or "none".'
            )
        self.in_channels = in_channels
        stages: list[nn.Sequential] = []
        inputs = in_channels
        for index in range(num_layers + 1):
            outputs = channels * min(2**index, 8)
            stride = 2 if index < num_layers else 1
            layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride=stride, padding=2)]
            if index and norm == "batch":
                layers.append(nn.BatchNorm2d(outputs))
            stages.append(nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True)))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv2d(inputs, 1, 4, padding=2)

    def forward(self, image_N3HW: Tensor, mask_N1HW: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Classify images.

        Args:
            image_N3HW: In [0, 1].
            mask_N1HW: 1 = hole. Only a discriminator with four channels uses it, and requires it.

        Returns:
            The logits (N, 1, h, w), high for real; and the feature maps of all stages.

        Raises:
            ConfigError: A discriminator with four channels got no mask.
        """
        x = image_N3HW
        if self.in_channels == 4:
            if mask_N1HW is None:
                raise ConfigError("a discriminator with in_channels 4 got no mask: expected one of shape (N, 1, H, W).")
            x = torch.cat([x, mask_N1HW.to(x.dtype)], dim=1)
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return self.head(x), features


def make_discriminator(config: LossConfig) -> PatchDiscriminator | None:
    """Return a new discriminator for the adversarial loss of a configuration; None if it has none."""
    if config.adversarial_kind == "none":
        return None
    return PatchDiscriminator(
        4 if config.discriminator_sees_mask else 3,
        channels=config.discriminator_channels,
        num_layers=config.discriminator_layers,
        norm="none" if config.adversarial_kind == "wasserstein" else "batch",
    )
