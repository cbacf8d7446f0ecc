"""LaMa: a ResNet of fast Fourier convolutions, the baseline that WavePaint is measured against.

Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (arXiv 2109.07161),
section 2 and figures 1 and 2. Parameter names are those of the released generators without their ``generator.``.

Feature maps are pairs: a local one, which 3x3 convolutions mix, and a global one, which the Fourier unit mixes over
the whole image at once.
"""

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.models.network import InpaintingNetwork
from wavepaint.models.wavemix import count_modules
from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d

MAX_DOWNSAMPLING = 10


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
        return self.inverse_dft(spectrum, x_NCHW.shape[3])  # type: ignore[no-any-return]


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
        in_channels: Local and global channels of the input; 0 global ones for a single map.
        out_channels: Those of the output.
        kernel_size: Of the convolutions.
        stride: Of the convolutions; 1 if the input has global channels.
        padding: Pixels by which maps are reflected on every side.
        spectral_l2g: Whether a spectral transform leads from local to global in place of a convolution.
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
    ) -> None:
        super().__init__()
        (in_local, in_global), (out_local, out_global) = in_channels, out_channels
        self.out_channels = out_channels
        self.padding = padding

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel_size, stride, bias=False)  # padded beforehand, once for two

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
        return F.pad(x_NCHW, (self.padding,) * 4, mode="reflect") if self.padding else x_NCHW

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

    def __init__(self, channels: tuple[int, int], *, spectral_l2g: bool) -> None:
        super().__init__()
        self.conv1 = FFCLayer(FFC(channels, channels, spectral_l2g=spectral_l2g))
        self.conv2 = FFCLayer(FFC(channels, channels, spectral_l2g=spectral_l2g))

    def forward(self, local_NCHW: Tensor, global_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        to_local, to_global = self.conv2(*self.conv1(local_NCHW, global_NCHW))
        return local_NCHW + to_local, global_NCHW + to_global


class Concatenation(nn.Module):
    """(local, global) -> one map; it holds the index that released generators have between blocks and decoder."""

    def forward(self, local_NCHW: Tensor, global_NCHW: Tensor) -> Tensor:
        return torch.cat([local_NCHW, global_NCHW], dim=1)


class LaMa(InpaintingNetwork):
    """LaMa: image (N, 3, H, W) in [0, 1] and mask (N, 1, H, W), 1 = hole -> filled image (N, 3, H, W) in [0, 1].

    What the image holds inside the hole is ignored. Outside the hole the output is the input, bit for bit. H and W
    must be multiples of 2 ** num_downsampling, 8 in every released network. A side of just that is one feature,
    which cannot be reflected (the authors' code fails there): it is continued by its last pixels to twice as many.

    Args:
        num_blocks: Residual blocks: 9, or 18 in "big-lama".
        base_channels: Channels at full size; every stage that halves the size doubles them.
        num_downsampling: Such stages.
        global_channels: Of the channels between the blocks those that are global; 3/4 of them in released networks.
        spectral_l2g: In the blocks, lead from local to global by a spectral transform in place of a convolution: the
            variant of G. Baker and Y. Cho, "Improvement on Image inpainting with Fourier Convolutions" (2021).

    Raises:
        ConfigError: A value that makes no sense.
        ImageError: From ``forward``, where H or W is no such multiple.
    """

    def __init__(
        self,
        *,
        num_blocks: int = 9,
        base_channels: int = 64,
        num_downsampling: int = 3,
        global_channels: int = 384,
        spectral_l2g: bool = False,
    ) -> None:
        super().__init__()
        if num_blocks < 1 or base_channels < 1 or not 1 <= num_downsampling <= MAX_DOWNSAMPLING:
            raise ConfigError(
                f"num_blocks is {num_blocks}, base_channels {base_channels} and num_downsampling {num_downsampling}: "
                f"expected 1 or more, and num_downsampling {MAX_DOWNSAMPLING} at most."
            )
        width = base_channels * 2**num_downsampling
        if not 2 <= global_channels < width:
            raise ConfigError(
                f"global_channels is {global_channels}: expected 2 to {width - 1}, part of the {width} channels "
                "between the blocks."
            )
        self.size_multiple = 2**num_downsampling
        inner = (width - global_channels, global_channels)
        stages = [(base_channels * 2**n, 0) for n in range(num_downsampling)] + [inner]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), FFCLayer(FFC((4, 0), stages[0], kernel_size=7, padding=0))]
        layers += [FFCLayer(FFC(former, stage, stride=2)) for former, stage in itertools.pairwise(stages)]
        layers += [FFCBlock(inner, spectral_l2g=spectral_l2g) for _ in range(num_blocks)]
        layers += [Concatenation()]
        for _ in range(num_downsampling):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            width //= 2
            layers += [up, nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(base_channels, 3, 7), nn.Sigmoid()]
        self.model = nn.Sequential(*layers)

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x = torch.cat([known_NCHW, mask_N1HW], dim=1)
        height, width = x.shape[2:]
        missing = [torch.sym_max(2 * self.size_multiple - side, 0) for side in (width, height)]  # type: ignore[no-untyped-call]
        x = F.pad(x, (0, missing[0], 0, missing[1]), mode="replicate")
        for layer in self.model:
            x = layer(*x) if isinstance(x, tuple) else layer(x)  # from the stem to the concatenation maps are pairs
        return x[:, :, :height, :width]


def detect_lama(state: Mapping[str, Tensor]) -> dict[str, int | bool] | None:
    """Read the arguments of :class:`LaMa` from a state dict; None if it is of another architecture."""
    stem = state.get("model.1.ffc.convl2l.weight")
    if stem is None or stem.shape[1:] != (4, 7, 7):
        return None
    num_layers = count_modules({name: tensor for name, tensor in state.items() if ".ffc." in name}, "model.")
    num_downsampling = sum(f"model.{n}.ffc.convl2l.weight" in state for n in range(2, num_layers + 2))
    to_global = state.get(f"model.{num_downsampling + 1}.ffc.convl2g.weight")
    num_blocks = num_layers - 1 - num_downsampling
    if to_global is None or num_blocks < 1:
        return None
    return {
        "num_blocks": num_blocks,
        "base_channels": stem.shape[0],
        "num_downsampling": num_downsampling,
        "global_channels": to_global.shape[0],
        "spectral_l2g": f"model.{num_downsampling + 2}.conv1.ffc.convl2g.conv2.weight" in state,
    }
