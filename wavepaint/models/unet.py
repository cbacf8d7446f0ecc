"""The custom CNN that WaveMix inpainting is compared with: a U-Net.

Source: D. Kumar et al., "Resource-efficient Image Inpainting" (ICLR 2023 Tiny Papers), table 1 and appendix A: five
down-scaling convolutions, five up-scaling transposed convolutions, 12 M parameters. The authors state neither kernel
sizes nor channels and released no code. This module reaches that number with 3x3 kernels and channels that double up
to eight times the base.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavepaint.arguments import check_int
from wavepaint.models.network import InpaintingNetwork

_WIDTHS = (1, 2, 4, 8, 8)
"""Channels after each down-scaling, as multiples of the base."""


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Hyper-parameters of :class:`UNet`.

    Attributes:
        base_channels: Channels after the first down-scaling; 72 give 12 M parameters.

    Raises:
        ConfigError: A value out of range.
    """

    base_channels: int = 72

    def __post_init__(self) -> None:
        check_int("base_channels", self.base_channels, 1)

    @property
    def size_multiple(self) -> int:
        return int(2 ** len(_WIDTHS))


class UNet(InpaintingNetwork):
    """U-Net. Inside the hole the output is not clamped to [0, 1]."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.size_multiple = config.size_multiple
        widths = [config.base_channels * factor for factor in _WIDTHS]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in zip([4, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList()
        inputs = widths[-1]
        for outputs in reversed(widths[:-1]):
            up = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
            self.up.append(nn.Sequential(up, nn.BatchNorm2d(outputs), nn.ReLU()))
            inputs = 2 * outputs  # the layer's own output and the skip connection's
        self.up.append(nn.Sequential(nn.ConvTranspose2d(inputs, 3, 3, stride=2, padding=1, output_padding=1)))

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x = torch.cat([known_NCHW, mask_N1HW], dim=1)  # (N, 4, H, W)
        skips = []
        for down in self.down:
            x = down(x)  # (N, width, H / 2, W / 2) after the first, ..., (N, width, H / 32, W / 32) after the last
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(x)  # twice the size; (N, 3, H, W) after the last
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)  # (N, 2 width, ...)
        return x
