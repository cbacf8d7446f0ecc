"""The Inception network that defines the FID, as its TensorFlow original computes, up to the last pooling.

Source: C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015). The FID uses the graph
``inception-2015-12-05`` (M. Heusel et al., 2017). It differs from torchvision's network: average pooling leaves the
padding out, and the last block pools by the maximum. Names and blocks are those of pytorch-fid, which published the
weights (https://github.com/mseitzer/pytorch-fid).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_FEATURES = 2048
_SIDE = 299
"""Pixels to which images are scaled."""

_Size = int | tuple[int, int]
Pool = Callable[[Tensor], Tensor]


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


class _Conv(nn.Module):
    """Convolution, BatchNorm and ReLU."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _same(in_channels: int, channels: int, height: int, width: int) -> _Conv:
    """Return a convolution that keeps the size."""
    return _Conv(in_channels, channels, (height, width), padding=(height // 2, width // 2))


class _BlockA(nn.Module):
    """35x35: branches of 1x1, 5x5 and twice 3x3, and a pooling."""

    def __init__(self, in_channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _same(in_channels, 64, 1, 1)
        self.branch5x5_1 = _same(in_channels, 48, 1, 1)
        self.branch5x5_2 = _same(48, 64, 5, 5)
        self.branch3x3dbl_1 = _same(in_channels, 64, 1, 1)
        self.branch3x3dbl_2 = _same(64, 96, 3, 3)
        self.branch3x3dbl_3 = _same(96, 96, 3, 3)
        self.branch_pool = _same(in_channels, pooled, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(_average(x))], 1
        )


class _BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _same(in_channels, 64, 1, 1)
        self.branch3x3dbl_2 = _same(64, 96, 3, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class _BlockC(nn.Module):
    """17x17: 7x7 convolutions as pairs of 1x7 and 7x1."""

    def __init__(self, in_channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = _same(in_channels, 192, 1, 1)
        self.branch7x7_1 = _same(in_channels, inner, 1, 1)
        self.branch7x7_2 = _same(inner, inner, 1, 7)
        self.branch7x7_3 = _same(inner, 192, 7, 1)
        self.branch7x7dbl_1 = _same(in_channels, inner, 1, 1)
        self.branch7x7dbl_2 = _same(inner, inner, 7, 1)
        self.branch7x7dbl_3 = _same(inner, inner, 1, 7)
        self.branch7x7dbl_4 = _same(inner, inner, 7, 1)
        self.branch7x7dbl_5 = _same(inner, 192, 1, 7)
        self.branch_pool = _same(in_channels, 192, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class _BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = _same(in_channels, 192, 1, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _same(in_channels, 192, 1, 1)
        self.branch7x7x3_2 = _same(192, 192, 1, 7)
        self.branch7x7x3_3 = _same(192, 192, 7, 1)
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, stride=2)], 1)


class _BlockE(nn.Module):
    """8x8: branches that end in 1x3 beside 3x1."""

    def __init__(self, in_channels: int, pool: Pool) -> None:
        super().__init__()
        self._pool = pool
        self.branch1x1 = _same(in_channels, 320, 1, 1)
        self.branch3x3_1 = _same(in_channels, 384, 1, 1)
        self.branch3x3_2a = _same(384, 384, 1, 3)
        self.branch3x3_2b = _same(384, 384, 3, 1)
        self.branch3x3dbl_1 = _same(in_channels, 448, 1, 1)
        self.branch3x3dbl_2 = _same(448, 384, 3, 3)
        self.branch3x3dbl_3a = _same(384, 384, 1, 3)
        self.branch3x3dbl_3b = _same(384, 384, 3, 1)
        self.branch_pool = _same(in_channels, 192, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        ends = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        ends += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *ends, self.branch_pool(self._pool(x))], 1)


class Inception(nn.Module):
    """The network, with random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _same(32, 64, 3, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, _average)
        self.Mixed_7c = _BlockE(NUM_FEATURES, _maximum)
        self.eval()

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Return the features (N, 2048) of images in [0, 1] of any size."""
        x = F.interpolate(image_N3HW, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False) * 2 - 1
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))
