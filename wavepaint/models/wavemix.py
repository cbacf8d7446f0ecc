"""The WaveMix block: token mixing by a multi-level wavelet transform.

Source: P. Jeevan et al., "WaveMix: A Resource-efficient Neural Network for Image Analysis" (arXiv 2205.14375), figure 1
and section 3. Parameter names are those of the authors' released checkpoints.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavepaint.arguments import check_int
from wavepaint.errors import ConfigError
from wavepaint.ops.dwt import DWT2d

MAX_LEVEL = 4

CONVOLUTION = "convolution"
"""In the place of a wavelet's name: a learned strided convolution replaces the wavelet transform."""


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """Hyper-parameters of :class:`WaveMixBlock`. The names are the authors'.

    Attributes:
        final_dim: Channels D; a multiple of 4.
        mult: Hidden channels of the feed-forward, as a multiple of ``final_dim``.
        ff_channel: Channels between the feed-forward and its transposed convolution.
        dropout: Dropout probability after the activation, 0 to 1.
        level: Wavelet levels, 1 to 4.

    Raises:
        ConfigError: A value out of range.
    """

    final_dim: int
    mult: int = 2
    ff_channel: int = 16
    dropout: float = 0.5
    level: int = 1

    def __post_init__(self) -> None:
        check_int("final_dim", self.final_dim, 4)
        if self.final_dim % 4:
            raise ConfigError(f"final_dim is {self.final_dim}: expected a positive multiple of 4.")
        check_int("mult", self.mult, 1)
        check_int("ff_channel", self.ff_channel, 1)
        check_int("level", self.level, 1, MAX_LEVEL)
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout <= 1:
            raise ConfigError(f"dropout is {self.dropout!r}: expected 0 to 1.")


class StridedConvolution(nn.Module):
    """A convolution with the shapes and the support of the Haar transform, whose filters are learned.

    (N, C, H, W) -> (N, C, H/2, W/2), which the next level transforms, and (N, 3C, H/2, W/2). H and W must be even. It
    has 16 C^2 + 4 C parameters and mixes channels, as a standard convolution does; the wavelet transform does not.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.filters = nn.Conv2d(channels, 4 * channels, 2, stride=2)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.filters(x_NCHW).split((self.channels, 3 * self.channels), dim=1)
        return low, high


class WaveMixBlock(nn.Module):
    """One WaveMix block without its residual connection: (N, D, H, W) -> (N, D, H, W).

    A 1x1 convolution reduces the channels to a quarter, and ``level`` wavelet levels transform them: the four bands of
    a level have D channels again. From the coarsest level to the finest, a level's bands and the coarser level's result
    pass through a feed-forward that doubles the size. H and W must be multiples of 2 ** level.

    Args:
        config: The block's hyper-parameters.
        wavelet: A discrete wavelet of PyWavelets; the authors use Haar. ``"convolution"`` puts one
            :class:`StridedConvolution` in its place, for all levels, to measure what the transform contributes.

    Raises:
        ConfigError: Unknown wavelet.
    """

    dwt: DWT2d | StridedConvolution

    def __init__(self, config: BlockConfig, wavelet: str = "haar") -> None:
        super().__init__()
        dim, half, self.level = config.final_dim, config.final_dim // 2, config.level
        self.reduction = nn.Conv2d(dim, dim // 4, 1)
        if wavelet == CONVOLUTION:
            self.dwt = StridedConvolution(dim // 4)
        else:
            self.dwt = DWT2d(dim // 4, wavelet, border="cropped")
        if self.level == 1:
            self.feedforward = _make_feedforward(config, dim, dim)
        else:
            for n in range(1, self.level + 1):
                in_channels = dim if n == self.level else dim + half
                self.add_module(f"feedforward{n}", _make_feedforward(config, in_channels, dim if n == 1 else half))

    def get_feedforward(self, n: int) -> nn.Sequential:
        """Return the feed-forward of level ``n``; 1 is the finest."""
        module = self.feedforward if self.level == 1 else self.get_submodule(f"feedforward{n}")
        assert isinstance(module, nn.Sequential)
        return module

    def forward(self, x_NCHW: Tensor) -> Tensor:
        low = self.reduction(x_NCHW)  # (N, D/4, H, W)
        bands: list[Tensor] = []
        for _ in range(self.level):
            low, high = self.dwt(low)  # (N, D/4, h, w) and (N, 3 D/4, h, w), half the size of the level before
            bands.append(torch.cat([low, high], dim=1))  # (N, D, h, w)
        out = self.get_feedforward(self.level)(bands[-1])  # (N, D/2, 2h, 2w)
        for n in range(self.level - 1, 0, -1):
            x = torch.cat([bands[n - 1], out], dim=1)  # (N, D + D/2, h, w)
            out = self.get_feedforward(n)(x)  # (N, D/2, 2h, 2w), with D channels at the finest level
        return out  # type: ignore[no-any-return]  # (N, D, H, W)


def _make_feedforward(config: BlockConfig, in_channels: int, out_channels: int) -> nn.Sequential:
    """Make layers that mix channels at half the size, then double the size: (N, in, h, w) -> (N, out, 2h, 2w)."""
    hidden = config.mult * config.final_dim
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Conv2d(hidden, config.ff_channel, 1),
        nn.ConvTranspose2d(config.ff_channel, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
    )


class ResidualBlocks(nn.ModuleList):
    """Blocks in sequence, each added to its input: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        for block in self:
            x_NCHW = block(x_NCHW) + x_NCHW
        return x_NCHW
