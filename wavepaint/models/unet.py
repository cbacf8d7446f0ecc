"""The custom CNN that WaveMix inpainting is compared with: a U-Net.

Source: D. Kumar et al., "Resource-efficient Image Inpainting" (ICLR 2023 Tiny Papers), table 1 and appendix A: five
down-scaling convolutions, five up-scaling transposed convolutions, 12 M parameters. The authors give neither kernel
sizes nor channels and released no code; those here are chosen to meet the number: 3x3, and channels that double up to
eight times the base.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.models.network import InpaintingNetwork

_WIDTHS = (1, 2, 4, 8, 8)
"""Channels after each down-scaling, as multiples of the base."""


class UNet(InpaintingNetwork):
    """U-Net: image (N, 3, H, W) in [0, 1] and mask (N, 1, H, W), 1 = hole -> filled image (N, 3, H, W).

    What the image holds inside the hole is ignored. Outside the hole the output is the input, bit for bit; inside
    it is not clamped. H and W must be multiples of 32.

    Args:
        base_channels: Channels after the first down-scaling; 72 make 12 M parameters.

    Raises:
        ConfigError: Fewer than one channel.
        ImageError: From ``forward``, where H or W is no such multiple.
    """

    size_multiple = 2 ** len(_WIDTHS)

    def __init__(self, *, base_channels: int = 72) -> None:
        super().__init__()
        if base_channels < 1:
            raise ConfigError(f"base_channels is {base_channels}: expected 1 or more.")
        widths = [base_channels * factor for factor in _WIDTHS]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in zip([4, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList()
        inputs = widths[-1]
        for outputs in reversed(widths[:-1]):
            up = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
            self.up.append(nn.Sequential(up, nn.BatchNorm2d(outputs), nn.ReLU()))
            inputs = 2 * outputs  # its own result and the skip connection's
        self.up.append(nn.Sequential(nn.ConvTranspose2d(inputs, 3, 3, stride=2, padding=1, output_padding=1)))

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x = torch.cat([known_NCHW, mask_N1HW], dim=1)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(x)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
        return x


def detect_unet(state: Mapping[str, Tensor]) -> dict[str, int] | None:
    """Read the arguments of :class:`UNet` from a state dict; None if it is of another architecture."""
    first = state.get("down.0.0.weight")
    if first is None or first.shape[1:] != (4, 3, 3) or "up.4.0.weight" not in state:
        return None
    return {"base_channels": first.shape[0]}
