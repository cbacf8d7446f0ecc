"""LaMa: a ResNet of fast Fourier convolutions, the baseline that WavePaint is measured against.

Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (arXiv 2109.07161),
section 2 and figures 1 and 2. Parameter names are those of the released generators, without the prefix ``generator.``.

Feature maps come in pairs (local, global): 3x3 convolutions mix the local one, and the Fourier unit mixes the global
one over the whole image at once.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.arguments import check_int, check_type
from wavepaint.models.network import InpaintingNetwork
from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d
from wavepaint.ops.maps import crop_like, extend

MAX_DOWNSAMPLING = 10

ZERO_PADDING_ENTRY = "zero_padding"
"""State-dict entry that is present if convolutions are padded with zeros. No weight depends on it."""


class FourierUnit(nn.Module):
    """A 1x1 convolution of the Fourier coefficients: (N, C, H, W) -> (N, C, H, W). Figure 2, right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dft = RealDFT2d()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(2 * channels)
        self.inverse_dft = InverseRealDFT2d()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        spectrum = F.relu(self.bn(self.conv_layer(self.dft(x_NCHW))))
        return self.inverse_dft(spectrum, x_NCHW)  # type: ignore[no-any-return]


class SpectralTransform(nn.Module):
    """A residual Fourier unit on half the channels: (N, in, H, W) -> (N, out, H, W). Figure 2, middle."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.conv1 = nn.Sequential(nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU())
        self.fu = FourierUnit(hidden)
        self.conv2 = nn.Conv2d(hidden, out_channels, 1, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = self.conv1(x_NCHW)
        return self.conv2(x + self.fu(x))  # type: ignore[no-any-return]


class FFC(nn.Module):
    """A fast Fourier convolution: (local, global) -> (local, global). Figure 2, left.

    Args:
        in_channels: Local and global channels of the input; without global channels the input is a single map.
        out_channels: Local and global channels of the output.
        kernel_size: Kernel size of the convolutions.
        stride: Stride of the convolutions; must be 1 if the input has global channels.
        padding: Pixels of padding on every side.
        spectral_l2g: Use a spectral transform instead of a convolution from local to global channels.
        zero_padding: Pad with zeros instead of reflections.
    """

    def __init__(
        self,
        in_channels: tuple[int, int],
        out_channels: tuple[int, int],
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        spectral_l2g: bool = False,
        zero_padding: bool = False,
    ) -> None:
        super().__init__()
        (in_local, in_global), (out_local, out_global) = in_channels, out_channels
        self.out_channels = out_channels
        self.padding = padding
        self.padding_mode = "constant" if zero_padding else "reflect"

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel_size, stride, bias=False)  # forward pads, once for both outputs

        self.convl2l = conv(in_local, out_local)
        self.convl2g: nn.Module | None = None
        self.convg2l: nn.Conv2d | None = None
        self.convg2g: SpectralTransform | None = None
        if out_global:
            self.convl2g = SpectralTransform(in_local, out_global) if spectral_l2g else conv(in_local, out_global)
        if in_global:
            self.convg2l = conv(in_global, out_local)
            self.convg2g = SpectralTransform(in_global, out_global)

    def _pad(self, x_NCHW: Tensor) -> Tensor:
        return F.pad(x_NCHW, (self.padding,) * 4, mode=self.padding_mode) if self.padding else x_NCHW

    def forward(self, local_NCHW: Tensor, global_NCHW: Tensor | None) -> tuple[Tensor, Tensor | None]:
        padded = self._pad(local_NCHW)
        to_local, to_global = self.convl2l(padded), None
        if self.convl2g is not None:
            to_global = self.convl2g(local_NCHW if isinstance(self.convl2g, SpectralTransform) else padded)
        if global_NCHW is not None and self.convg2l is not None and self.convg2g is not None:
            to_local = to_local + self.convg2l(self._pad(global_NCHW))
            to_global = to_global + self.convg2g(global_NCHW)
        return to_local, to_global


class FFCLayer(nn.Module):
    """A fast Fourier convolution, BatchNorm and ReLU: (local, global) -> (local, global)."""

    def __init__(self, ffc: FFC) -> None:
        super().__init__()
        self.ffc = ffc
        out_local, out_global = ffc.out_channels
        self.bn_l: nn.Module = nn.BatchNorm2d(out_local)
        self.bn_g: nn.Module | None = nn.BatchNorm2d(out_global) if out_global else None

    def forward(self, local_NCHW: Tensor, global_NCHW: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        to_local, to_global = self.ffc(local_NCHW, global_NCHW)
        if self.bn_g is not None:
            to_global = F.relu(self.bn_g(to_global))
        return F.relu(self.bn_l(to_local)), to_global


class FFCBlock(nn.Module):
    """Two FFC layers, added to their input."""

    def __init__(self, channels: tuple[int, int], *, spectral_l2g: bool, zero_padding: bool) -> None:
        super().__init__()
        options = {"spectral_l2g": spectral_l2g, "zero_padding": zero_padding}
        self.conv1 = FFCLayer(FFC(channels, channels, **options))
        self.conv2 = FFCLayer(FFC(channels, channels, **options))

    def forward(self, local_NCHW: Tensor, global_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        to_local, to_global = self.conv2(*self.conv1(local_NCHW, global_NCHW))
        return local_NCHW + to_local, global_NCHW + to_global


class Concatenation(nn.Module):
    """(local, global) -> one map. Released generators have this layer too, so it takes an index in parameter names."""

    def forward(self, local_NCHW: Tensor, global_NCHW: Tensor) -> Tensor:
        return torch.cat([local_NCHW, global_NCHW], dim=1)


@dataclass(frozen=True, kw_only=True)
class LaMaConfig:
    """Hyper-parameters of :class:`LaMa`.

    Attributes:
        num_blocks: Residual blocks: 9, or 18 in "big-lama".
        base_channels: Channels at full size; every stage that halves the size doubles them.
        num_downsampling: Stages that halve the size.
        global_channels: Global channels of the blocks, out of base_channels * 2 ** num_downsampling; three quarters of
            them in released networks.
        spectral_l2g: Use spectral transforms instead of convolutions from local to global channels in the blocks: the
            variant of G. Baker and Y. Cho, "Improvement on Image inpainting with Fourier Convolutions" (2021).
        zero_padding: Pad the convolutions between the first and the last one with zeros, as in that project's weights,
            instead of reflections.

    Raises:
        ConfigError: A value out of range.
    """

    num_blocks: int = 9
    base_channels: int = 64
    num_downsampling: int = 3
    global_channels: int = 384
    spectral_l2g: bool = False
    zero_padding: bool = False

    def __post_init__(self) -> None:
        check_int("num_blocks", self.num_blocks, 1)
        check_int("base_channels", self.base_channels, 1)
        check_int("num_downsampling", self.num_downsampling, 1, MAX_DOWNSAMPLING)
        check_int("global_channels", self.global_channels, 2, self.block_channels - 1)
        check_type("spectral_l2g", self.spectral_l2g, bool, "true or false")
        check_type("zero_padding", self.zero_padding, bool, "true or false")

    @property
    def block_channels(self) -> int:
        """Channels of the blocks, local plus global."""
        return int(self.base_channels * 2**self.num_downsampling)

    @property
    def size_multiple(self) -> int:
        return int(2**self.num_downsampling)


class LaMa(InpaintingNetwork):
    """LaMa. The output is in [0, 1].

    A side equal to the size multiple becomes a single feature, to which reflection padding cannot apply (the authors'
    code fails there). Repeating its last pixels extends such a side to twice its length. With zero padding
    only sides below 4 pixels are extended.
    """

    def __init__(self, config: LaMaConfig) -> None:
        super().__init__()
        self.size_multiple = config.size_multiple
        # The stem reflects three pixels, and without zero padding each feature map one.
        self.min_side = max(config.size_multiple, 4) if config.zero_padding else 2 * config.size_multiple
        if config.zero_padding:
            # It changes the output but no weight. The state dict records it, so that loading compares it.
            self.register_buffer(ZERO_PADDING_ENTRY, torch.tensor(1))
        base, num_downsampling, width = config.base_channels, config.num_downsampling, config.block_channels
        inner = (width - config.global_channels, config.global_channels)
        stages = [(base * 2**n, 0) for n in range(num_downsampling)] + [inner]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), FFCLayer(FFC((4, 0), stages[0], kernel_size=7, padding=0))]
        zero = config.zero_padding
        layers += [
            FFCLayer(FFC(former, stage, stride=2, zero_padding=zero)) for former, stage in itertools.pairwise(stages)
        ]
        layers += [
            FFCBlock(inner, spectral_l2g=config.spectral_l2g, zero_padding=zero) for _ in range(config.num_blocks)
        ]
        layers += [Concatenation()]
        for _ in range(num_downsampling):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            width //= 2
            layers += [up, nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(base, 3, 7), nn.Sigmoid()]
        self.model = nn.Sequential(*layers)

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x = torch.cat([known_NCHW, mask_N1HW], dim=1)  # (N, 4, H, W)
        x = extend(x, self.min_side)
        for layer in self.model:
            x = layer(*x) if isinstance(x, tuple) else layer(x)  # (local, global) from the stem to the concatenation
        return crop_like(x, known_NCHW)  # (N, 3, H, W)
