"""MobileNetV2 without its classifier, in torchvision's names.

Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 2.
"""

from torch import Tensor, nn

_NUM_FEATURES = 1280

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of the first block."""


def _convolve(in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
    )


class _Block(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        self._adds = stride == 1 and in_channels == channels
        inner = in_channels * expansion
        widen = [_convolve(in_channels, inner, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            _convolve(inner, inner, 3, stride=stride, groups=inner),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self._adds else y


class MobileNetV2(nn.Module):
    """The network, with random weights."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolve(3, 32, 3, stride=2)]
        channels = 32
        for expansion, width, depth, first_stride in _STAGES:
            for index in range(depth):
                layers.append(_Block(channels, width, 1 if index else first_stride, expansion))
                channels = width
        self.features = nn.Sequential(*layers, _convolve(channels, _NUM_FEATURES, 1))
        self.eval()

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Return the features (N, 1280) of images that are normalised by ImageNet's mean and standard deviation."""
        maps: Tensor = self.features(image_N3HW)
        return maps.mean(dim=(2, 3))
