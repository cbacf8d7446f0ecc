"""Exact forms of an upsampling by a ConvTranspose of stride 2, and convolutions with given weights."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Upsampling = Literal["phases", "transposed"]
"""The form of a WaveMix block's ConvTranspose; see :mod:`wavepaint.export.fusion.fuse`."""


def make_conv(weight: Tensor, bias: Tensor | None, like: Tensor, *, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """Return a convolution with the given weights, with the dtype and device of ``like``."""
    out_channels, in_channels, height, width = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=bias is not None)
    conv = conv.to(like)
    with torch.no_grad():
        conv.weight.copy_(weight)
        if bias is not None and conv.bias is not None:
            conv.bias.copy_(bias)
    return conv


def get_bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def interleave(phases: Sequence[Tensor]) -> Tensor:
    """Join the four phases of a grid: even rows and columns first, columns fastest."""
    return F.pixel_shuffle(torch.stack(list(phases), dim=2).flatten(1, 2), 2)


class JoinedConv(nn.Module):
    """A convolution of maps joined along their channels, as a sum of convolutions, because joining costs engines more.

    Args:
        conv: The convolution of the joined maps, of stride 1.
        num_maps: Their number. All have the same number of channels.
    """

    def __init__(self, conv: nn.Conv2d, num_maps: int) -> None:
        super().__init__()
        assert isinstance(conv.padding, tuple)
        padding = conv.padding[0]
        self.convs = nn.ModuleList(
            make_conv(weight, None if index else get_bias(conv), weight, padding=padding)
            for index, weight in enumerate(conv.weight.detach().chunk(num_maps, dim=1))
        )

    def forward(self, *maps: Tensor) -> Tensor:
        first, *others = (conv(x_NCHW) for conv, x_NCHW in zip(self.convs, maps, strict=True))
        return sum(others, first)  # type: ignore[no-any-return]


class SubPixelUpsample(nn.Module):
    """ConvTranspose 4x4 of stride 2 and padding 1 as a 2x2 convolution and a pixel shuffle.

    Output rows 2j - 1 and 2j both read input rows j - 1 and j, so on the padded grid one 2x2 convolution gives both.
    The input is one map, or ``num_maps`` that are joined along their channels.
    """

    def __init__(self, weight_IOHW: Tensor, bias: Tensor, like: Tensor, num_maps: int = 1) -> None:
        super().__init__()
        # Output 2j - 1 weighs (j - 1, j) by taps (2, 0), output 2j by taps (3, 1).
        taps = torch.tensor([[2, 0], [3, 1]])
        phases = weight_IOHW[:, :, taps][:, :, :, :, taps]  # (I, O, phase y, y, phase x, x)
        weight = phases.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)
        conv = make_conv(weight, bias.repeat_interleave(4), like, padding=1)
        self.conv = JoinedConv(conv, num_maps) if num_maps > 1 else conv

    def forward(self, *maps: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(*maps), 2)[:, :, 1:-1, 1:-1]  # (N, O, H, W)


_PHASE_TAPS = {4: ((3, 1), (2, 0)), 3: ((1,), (2, 0))}
"""Taps of even and of odd outputs by kernel size, in the order of the inputs."""


def has_phases(layer: nn.ConvTranspose2d) -> bool:
    """Return whether :class:`PhaseConvs` can replace a layer: a 4x4 or 3x3 ConvTranspose that doubles the size."""
    return (
        layer.kernel_size in ((4, 4), (3, 3))
        and (layer.stride, layer.padding) == ((2, 2), (1, 1))
        and layer.output_padding == (4 - layer.kernel_size[0],) * 2
        and (layer.groups, layer.dilation) == (1, (1, 1))
    )


class PhaseConvs(nn.Module):
    """ConvTranspose of stride 2 and padding 1 as four convolutions, one for each phase of the output grid.

    Kernel 4: even output rows 2i weight input rows (i - 1, i) with taps (3, 1), odd ones (i, i + 1) with taps (2, 0).
    Kernel 3 with output padding 1: even rows weight row i with tap 1, odd ones (i, i + 1) with taps (2, 0). Columns
    likewise. The number of multiply-accumulates stays the same.
    """

    def __init__(self, up: nn.ConvTranspose2d) -> None:
        super().__init__()
        weight = up.weight.detach()
        even, odd = _PHASE_TAPS[up.kernel_size[0]]
        paddings = ((len(even) - 1, 0), (0, 1))
        self.convs = nn.ModuleList()
        self.pads: list[tuple[int, ...]] = []
        for taps_y, pad_y in zip((even, odd), paddings, strict=True):
            for taps_x, pad_x in zip((even, odd), paddings, strict=True):
                kernel = weight[:, :, list(taps_y)][:, :, :, list(taps_x)].transpose(0, 1)
                self.convs.append(make_conv(kernel, get_bias(up), weight))
                self.pads.append((*pad_x, *pad_y))

    def forward(self, x_NCHW: Tensor) -> list[Tensor]:
        return [
            conv(F.pad(x_NCHW, pad) if any(pad) else x_NCHW) for conv, pad in zip(self.convs, self.pads, strict=True)
        ]


class PhaseUpsample(nn.Module):
    """:class:`PhaseConvs`, interleaved."""

    def __init__(self, up: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.phases = PhaseConvs(up)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return interleave(self.phases(x_NCHW))


def upsample_in_phases(layers: nn.Sequential) -> None:
    """Replace the ConvTransposes of a decoder or a head, in place. Its BatchNorms must be folded."""
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.ConvTranspose2d) and has_phases(layer):
            layers[index] = PhaseUpsample(layer)
