"""CoModGAN's generator, a comparator of large GANs for races: its architecture, without trained weights.

Sources: S. Zhao et al., "Large Scale Image Completion via Co-Modulated Generative Adversarial Networks" (ICLR 2021),
section 3 and figure 3; T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (arXiv 1912.04958),
section 2.2 and appendix B, for the modulated convolution. Widths, and the order of layers, are those of the authors'
code (github.com/zsyzzsoft/co-mod-gan, training/co_mod_gan.py).

An encoder reduces the image to 4x4 features, and from these to one vector. That vector and a latent code together
modulate the convolutions of a StyleGAN2 decoder, which also gets the encoder's features. The size is fixed by the
encoder's last layer.

The network differs from the authors' in what no race depends on. Weights are stored with the scale of equalized
learning rates applied. Latent code and noise are constant, so results are deterministic. Dropout is left out, as in
evaluation, and there is no truncation. A style scales the activations instead of the weights, which gives the same
result.
"""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.arguments import check_int
from wavepaint.errors import ConfigError
from wavepaint.models.network import InpaintingNetwork

LATENT = 512
"""Values of the latent code, and of the style that the mapping network makes of it."""

_MAPPING_LAYERS = 8
_SMALLEST = 4
"""Side of the smallest feature map."""

_SLOPE, _GAIN = 0.2, math.sqrt(2)
_EPSILON = 1e-8
_FILTER = (1.0, 3.0, 3.0, 1.0)
"""Low-pass filter of each axis at every change of the resolution."""

_SEED = 0


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE) * _GAIN


def _initialise(weight: Tensor) -> nn.Parameter:
    """Fill a weight (out, in, ...) so that outputs have the variance of inputs."""
    fan_in = math.prod(weight.shape[1:])
    return nn.Parameter(nn.init.normal_(weight, std=fan_in**-0.5))


def _make_filter(channels: int, gain: float) -> Tensor:
    """Return a depth-wise low-pass filter (C, 1, 4, 4)."""
    line = torch.tensor(_FILTER) / sum(_FILTER)
    return (gain * torch.outer(line, line)).repeat(channels, 1, 1, 1)


class Dense(nn.Module):
    """A linear layer and the activation: (N, in) -> (N, out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = _initialise(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_NC: Tensor) -> Tensor:
        return _activate(F.linear(x_NC, self.weight, self.bias))


class Convolution(nn.Module):
    """A convolution and the activation, which may halve the size: (N, in, H, W) -> (N, out, H or H/2, W or W/2)."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, halves: bool = False) -> None:
        super().__init__()
        self.weight = _initialise(torch.empty(outputs, inputs, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.filter: Tensor | None
        self.register_buffer("filter", _make_filter(inputs, 1.0) if halves else None, persistent=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.filter is None:
            return _activate(F.conv2d(x_NCHW, self.weight, self.bias, padding=self.weight.shape[-1] // 2))
        smooth = F.conv2d(x_NCHW, self.filter, padding=2, groups=len(self.filter))
        return _activate(F.conv2d(smooth, self.weight, self.bias, stride=2))


class Style(nn.Module):
    """The scale of each channel from latent style and image vector: (1, 512), (N, G) -> (N, C, 1, 1)."""

    def __init__(self, global_size: int, channels: int) -> None:
        super().__init__()
        self.weight = _initialise(torch.empty(channels, LATENT + global_size))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, latent_1C: Tensor, global_NC: Tensor) -> Tensor:
        # In two parts, so that the latent style is not repeated for each image.
        scales = F.linear(global_NC.to(latent_1C.dtype), self.weight[:, LATENT:], self.bias)
        return (scales + F.linear(latent_1C, self.weight[:, :LATENT]))[:, :, None, None]


class ModulatedKernel(nn.Module):
    """A 3x3 convolution of scaled activations, scaled back, which may double the size: x, style -> convolved.

    Scaling inputs by the style and outputs by its inverse norm equals scaling the weights for each image (arXiv
    1912.04958, equations 1 and 3).
    """

    def __init__(self, inputs: int, outputs: int, side: int, *, doubles: bool) -> None:
        super().__init__()
        shape = (inputs, outputs, 3, 3) if doubles else (outputs, inputs, 3, 3)
        self.weight = nn.Parameter(torch.empty(shape).normal_(std=(9 * inputs) ** -0.5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        generator = torch.Generator().manual_seed(_SEED)
        self.noise: Tensor
        self.filter: Tensor | None
        self.register_buffer("noise", torch.randn(1, 1, side, side, generator=generator, device="cpu"))
        self.register_buffer("filter", _make_filter(outputs, 4.0) if doubles else None, persistent=False)

    def forward(self, x_NCHW: Tensor, style_NC11: Tensor) -> Tensor:
        style = style_NC11.to(x_NCHW.dtype)
        energy = (self.weight * self.weight).sum((2, 3))
        energy = energy.t() if self.filter is not None else energy
        norm = F.conv2d(style * style, energy[:, :, None, None])
        x = x_NCHW * style
        if self.filter is None:
            x = F.conv2d(x, self.weight, padding=1)
        else:
            x = F.conv_transpose2d(x, self.weight, stride=2)
            x = F.conv2d(x, self.filter, padding=1, groups=len(self.filter))
        x = x * torch.rsqrt(norm + _EPSILON) + self.noise * self.noise_strength
        return _activate(x + self.bias[None, :, None, None])


class ModulatedConvolution(nn.Module):
    """A :class:`ModulatedKernel` and its style: (N, in, H, W) -> (N, out, H or 2H, W or 2W)."""

    def __init__(self, inputs: int, outputs: int, side: int, global_size: int, *, doubles: bool = False) -> None:
        super().__init__()
        self.style = Style(global_size, inputs)
        self.kernel = ModulatedKernel(inputs, outputs, side, doubles=doubles)

    def forward(self, x_NCHW: Tensor, latent_1C: Tensor, global_NC: Tensor) -> Tensor:
        return self.kernel(x_NCHW, self.style(latent_1C, global_NC))  # type: ignore[no-any-return]


class ToRgb(nn.Module):
    """A modulated 1x1 convolution to colours, not scaled back: (N, C, H, W) -> (N, 3, H, W).

    Random weights are so small that the sum over all ``num_sides`` sizes stays within [-1, 1], as trained colours do.
    Otherwise the exactness of engines would be judged at values that no photo has.
    """

    def __init__(self, channels: int, global_size: int, num_sides: int) -> None:
        super().__init__()
        self.style = Style(global_size, channels)
        self.convolution = nn.Conv2d(channels, 3, 1)
        nn.init.normal_(self.convolution.weight, std=0.3 * (channels * num_sides) ** -0.5)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, x_NCHW: Tensor, latent_1C: Tensor, global_NC: Tensor) -> Tensor:
        style = self.style(latent_1C, global_NC).to(x_NCHW.dtype)
        return self.convolution(x_NCHW * style)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class CoModGANConfig:
    """Hyper-parameters of :class:`CoModGAN`.

    Attributes:
        resolution: Side in pixels of the only size that the network takes, a power of two: 512 as the authors' network
            for photos of places, or 256.
        base_channels: Channels at full size; they double with every halving. The authors have 64 at 512 pixels
            and 128 at 256.
        max_channels: Most channels of a layer.

    Raises:
        ConfigError: A value out of range.
    """

    resolution: int = 512
    base_channels: int = 64
    max_channels: int = 512

    def __post_init__(self) -> None:
        check_int("resolution", self.resolution, 2 * _SMALLEST, 1024)
        if self.resolution & (self.resolution - 1):
            raise ConfigError(f"resolution is {self.resolution}: expected a power of two.")
        check_int("base_channels", self.base_channels, 1)
        check_int("max_channels", self.max_channels, 1)

    @property
    def size_multiple(self) -> int:
        return 1

    @property
    def only_side(self) -> int:
        """The only side that an image may have."""
        return self.resolution

    def count_channels(self, side: int) -> int:
        """Return the channels of a feature map."""
        return min(self.base_channels * self.resolution // side, self.max_channels)


class CoModGAN(InpaintingNetwork):
    """CoModGAN's generator. Inside the hole the output is not clamped to [0, 1]."""

    size_multiple = 1

    def __init__(self, config: CoModGANConfig) -> None:
        super().__init__()
        self.only_side = config.only_side
        sides = [config.resolution >> n for n in range(int(math.log2(config.resolution // _SMALLEST)) + 1)]
        widths = {side: config.count_channels(side) for side in sides}
        smallest = widths[_SMALLEST]
        global_size = 2 * smallest
        self.mapping = nn.Sequential(*(Dense(LATENT, LATENT) for _ in range(_MAPPING_LAYERS)))
        self.from_image = Convolution(4, widths[sides[0]], 1)
        self.encode = nn.ModuleList(Convolution(widths[side], widths[side], 3) for side in sides)
        self.down = nn.ModuleList(
            Convolution(widths[large], widths[small], 3, halves=True) for large, small in itertools.pairwise(sides)
        )
        self.to_global = Dense(smallest * _SMALLEST**2, global_size)
        self.from_global = Dense(global_size, smallest * _SMALLEST**2)
        rising = sides[::-1]
        self.up = nn.ModuleList(
            ModulatedConvolution(widths[small], widths[large], large, global_size, doubles=True)
            for small, large in itertools.pairwise(rising)
        )
        self.refine = nn.ModuleList(
            ModulatedConvolution(widths[side], widths[side], side, global_size) for side in rising
        )
        self.to_rgb = nn.ModuleList(ToRgb(widths[side], global_size, len(sides)) for side in rising)
        generator = torch.Generator().manual_seed(_SEED)
        self.latent: Tensor
        self.colour_filter: Tensor
        self.register_buffer("latent", torch.randn(1, LATENT, generator=generator, device="cpu"))
        self.register_buffer("colour_filter", _make_filter(3, 4.0), persistent=False)

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        is_known = 1 - mask_N1HW
        x = self.from_image(torch.cat([is_known - 0.5, (known_NCHW * 2 - 1) * is_known], dim=1))
        features = []
        for index, encode in enumerate(self.encode):
            x = encode(x)
            features.append(x)
            if index < len(self.down):
                x = self.down[index](x)
        global_NC = self.to_global(x.flatten(1))
        scale = torch.rsqrt((self.latent * self.latent).mean(1, keepdim=True) + _EPSILON)
        latent_1C = self.mapping(self.latent * scale)
        x = self.from_global(global_NC).unflatten(1, x.shape[1:]) + features.pop()
        x = self.refine[0](x, latent_1C, global_NC)
        rgb = self.to_rgb[0](x, latent_1C, global_NC)
        for up, refine, to_rgb in zip(self.up, self.refine[1:], self.to_rgb[1:], strict=True):
            x = up(x, latent_1C, global_NC) + features.pop()
            x = refine(x, latent_1C, global_NC)
            larger = F.conv_transpose2d(rgb, self.colour_filter.to(rgb.dtype), stride=2, padding=1, groups=3)
            rgb = larger + to_rgb(x, latent_1C, global_NC)
        return rgb / 2 + 0.5  # type: ignore[no-any-return]
