"""Exact fusion of WaveMix and WavePaint: stem, blocks and decoder. See :mod:`wavepaint.export.fusion.fuse`."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.export.fusion.batch_norm import drop_batch_norms, fold_in_place
from wavepaint.export.fusion.upsampling import (
    JoinedConv,
    PhaseUpsample,
    SubPixelUpsample,
    Upsampling,
    get_bias,
    interleave,
    make_conv,
)
from wavepaint.models.wavemix import ResidualBlocks, WaveMixBlock
from wavepaint.models.wavepaint import WaveMixModule
from wavepaint.ops.dwt import HAAR, DWT2d


class FusedStem(nn.Module):
    """Two 3x3 convolutions, the second of stride 2, as one.

    With strides s and 2 the composed kernel has 2s + 3 taps. Output row i >= 1 starts at input row 2si - s - 1, so
    row 1 starts at s - 1. Only for s = 1 does the last row read a row of zeros beyond the end.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.inner_stride = first.stride[0]
        w1, w2 = first.weight.detach().double(), second.weight.detach().double()
        stride, taps = self.inner_stride, 2 * self.inner_stride + 3
        weight = w1.new_zeros(w2.shape[0], w1.shape[1], taps, taps)
        for y in range(3):
            for x in range(3):
                part = torch.einsum("om,mihw->oihw", w2[:, :, y, x], w1)
                weight[:, :, y * stride : y * stride + 3, x * stride : x * stride + 3] += part
        bias = get_bias(second).double() + torch.einsum("omhw,m->o", w2, get_bias(first).double())
        self.composed = make_conv(weight, bias, first.weight, stride=stride * second.stride[0])

    def _pair(self, x_NCHW: Tensor) -> Tensor:
        return self.second(self.first(x_NCHW))  # type: ignore[no-any-return]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        # The first output row needs two rows between the convolutions, and those s + 2 <= 4 s rows of the input.
        strip = 4 * self.inner_stride
        top = self._pair(x_NCHW[:, :, :strip])[:, :, :1]
        left = self._pair(x_NCHW[..., :strip])[:, :, 1:, :1]
        skipped = self.inner_stride - 1
        inside = x_NCHW[:, :, skipped:, skipped:]
        if self.inner_stride == 1:
            inside = F.pad(inside, (0, 1, 0, 1))
        return torch.cat([top, torch.cat([left, self.composed(inside)], dim=3)], dim=2)


class FusedFullSizeStem(FusedStem):
    """Two 3x3 convolutions of stride 1 as one 5x5 convolution, except for the outermost output rows and columns.

    The image needs 3 rows and columns or more, which WavePaint's size multiple ensures and WaveMix's does not.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        top = self._pair(x_NCHW[:, :, :3])[:, :, :1]
        bottom = self._pair(x_NCHW[:, :, -3:])[:, :, -1:]
        left = self._pair(x_NCHW[..., :3])[:, :, 1:-1, :1]
        right = self._pair(x_NCHW[..., -3:])[:, :, 1:-1, -1:]
        inside = self.composed(F.pad(x_NCHW, (1, 1, 1, 1)))
        return torch.cat([top, torch.cat([left, inside, right], dim=3), bottom], dim=2)


def fuse_stem(layers: nn.Sequential, *, full_size: bool = False) -> nn.Sequential:
    """Compose the first two layers if they are a stem of known shape and the composition is cheaper.

    Args:
        layers: Any layers.
        full_size: Compose a stem that keeps the image's size, too; see :class:`FusedFullSizeStem`.
    """
    if len(layers) < 2:
        return layers
    first, second = layers[0], layers[1]
    if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)):
        return layers
    if not all(c.kernel_size == (3, 3) and c.padding == (1, 1) and c.groups == 1 for c in (first, second)):
        return layers
    inner, outer = first.stride[0], second.stride[0]
    keeps_size = full_size and first.stride == second.stride == (1, 1)
    if not keeps_size and (first.stride not in ((1, 1), (2, 2)) or second.stride != (2, 2)):
        return layers
    pair = outer**2 * first.weight.numel() + second.weight.numel()  # MAC of one output pixel
    composed = (2 * inner + 3) ** 2 * first.in_channels * second.out_channels
    fused = FusedFullSizeStem if keeps_size else FusedStem
    return nn.Sequential(fused(first, second), *list(layers)[2:]) if composed < pair else layers


def fuse_head(layers: nn.Sequential) -> None:
    """Compose a ConvTranspose and the 1x1 convolution behind it, at a segmenter's end, if that is cheaper, in place."""
    up, last = layers[-2], layers[-1]
    if not (isinstance(up, nn.ConvTranspose2d) and isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1)):
        return
    num_taps = up.kernel_size[0] * up.kernel_size[1] / (up.stride[0] * up.stride[1])
    pair = num_taps * up.in_channels * up.out_channels + last.weight.numel()  # MAC of one output pixel
    if num_taps * up.in_channels * last.out_channels >= pair:
        return
    matrix = last.weight.detach().double()[:, :, 0, 0]
    composed = copy.deepcopy(up)
    composed.out_channels = last.out_channels
    weight = torch.einsum("om,imhw->iohw", matrix, up.weight.detach().double())
    bias = get_bias(last).double() + matrix @ get_bias(up).double()
    composed.weight, composed.bias = nn.Parameter(weight.to(up.weight)), nn.Parameter(bias.to(up.weight))
    layers[-2], layers[-1] = composed, nn.Identity()


class FusedWaveMixBlock(nn.Module):
    """A WaveMix block with its wavelet transforms composed into the convolutions behind them."""

    def __init__(self, block: WaveMixBlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.reduction = block.reduction
        assert isinstance(block.dwt, DWT2d)
        self.dwt = block.dwt
        channels = block.dwt.channels
        bank = torch.cat([block.dwt.low[:1], block.dwt.high[:3]])[:, 0].double()  # LL, LH, HL, HH
        self.bands = nn.ModuleList()
        self.coarser = nn.ModuleList()
        self.rest = nn.ModuleList()
        for n in range(1, block.level + 1):
            layers = block.get_feedforward(n)
            mix = layers[0]
            assert isinstance(mix, nn.Conv2d)
            weight = mix.weight.detach()[:, :, 0, 0].double()
            # Channels come as LL of all, then LH, HL, HH of each, then the coarser level's result.
            details = weight[:, channels : 4 * channels].unflatten(1, (channels, 3))  # type: ignore[no-untyped-call]
            per_band = torch.cat([weight[:, :channels, None], details], dim=2)
            composed = torch.einsum("ocb,bhw->ochw", per_band, bank)
            self.bands.append(make_conv(composed, get_bias(mix).double(), mix.weight, stride=2))
            if n < block.level:
                self.coarser.append(make_conv(weight[:, 4 * channels :, None, None], None, mix.weight))
            rest = drop_batch_norms(nn.Sequential(*list(layers)[1:]))
            up = rest[-1]
            assert isinstance(up, nn.ConvTranspose2d)
            if upsampling == "phases":
                rest[-1] = PhaseUpsample(up)
            self.rest.append(rest)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self._run_level(0, self.reduction(x_NCHW))

    def _run_level(self, n: int, low_NCHW: Tensor) -> Tensor:
        """Run level ``n``, from 0 for the finest, and those below it on that level's low band."""
        hidden = self.bands[n](self.dwt.pad(low_NCHW))
        if n < len(self.coarser):
            hidden = hidden + self.coarser[n](self._run_level(n + 1, self.dwt.low_band(low_NCHW)))
        return self.rest[n](hidden)  # type: ignore[no-any-return]


class PhaseWaveMixBlock(FusedWaveMixBlock):
    """A fused Haar block on a feature map given as the four phases of its grid, each (N, C, H/2, W/2)."""

    def __init__(self, block: WaveMixBlock) -> None:
        super().__init__(block, "phases")
        finest = self.bands[0]
        assert isinstance(finest, nn.Conv2d)
        # Each phase contains one pixel of every 2x2 patch.
        stacked = finest.weight.permute(0, 2, 3, 1).flatten(1)[:, :, None, None]
        self.bands[0] = make_conv(stacked, finest.bias, finest.weight)
        *feedforward, upsample = self.rest[0].children()
        assert isinstance(upsample, PhaseUpsample)
        self.rest[0] = nn.Sequential(*feedforward, upsample.phases)

    def forward(self, phases: Sequence[Tensor]) -> list[Tensor]:  # type: ignore[override]
        reduced = [self.reduction(phase) for phase in phases]
        hidden = self.bands[0](torch.cat(reduced, dim=1))
        if self.coarser:
            low = (reduced[0] + reduced[1] + reduced[2] + reduced[3]) * 0.5
            hidden = hidden + self.coarser[0](self._run_level(1, low))
        return self.rest[0](hidden)  # type: ignore[no-any-return]


class PhaseBlocks(ResidualBlocks):
    """Residual Haar blocks that keep the phases apart between them; H and W must be even."""

    def __init__(self, blocks: Sequence[WaveMixBlock]) -> None:
        super().__init__(PhaseWaveMixBlock(block) for block in blocks)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        phases = [x_NCHW[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        for block in self:
            phases = [new + former for new, former in zip(block(phases), phases, strict=True)]
        return interleave(phases)


def fuse_blocks(blocks: ResidualBlocks, upsampling: Upsampling) -> ResidualBlocks:
    """Fuse every block, and keep the phases apart between blocks where all of them allow it."""
    wavemix = [block for block in blocks if isinstance(block, WaveMixBlock)]
    transforms = [block.dwt for block in wavemix if isinstance(block.dwt, DWT2d)]
    if len(transforms) < len(wavemix):  # learned convolutions: there is no transform to compose
        for layers in list(blocks.modules()):
            fold_in_place(layers)
        return blocks
    if upsampling == "phases" and all(transform.wavelet in HAAR for transform in transforms):
        return PhaseBlocks(wavemix)
    return ResidualBlocks(FusedWaveMixBlock(block, upsampling) for block in wavemix)


class FusedWaveMixModule(nn.Module):
    """A WavePaint module with one narrow layer and a colour matrix as its decoder.

    The layer upsamples; without input reduction it is a convolution.
    """

    def __init__(self, module: WaveMixModule, upsampling: Upsampling) -> None:
        super().__init__()
        self.in_channels = module.in_channels
        self.conv = fuse_stem(module.conv, full_size=True)
        self.layers = fuse_blocks(module.layers, upsampling)
        self.depthconv = module.depthconv
        up = drop_batch_norms(module.decoder1)[0]
        to_rgb = module.decoder2[0]
        assert isinstance(up, nn.ConvTranspose2d)
        assert isinstance(to_rgb, nn.Conv2d)
        matrix = to_rgb.weight.detach()[:, :, 0, 0].double()
        features = matrix[:, : up.out_channels]
        weight = torch.einsum("rm,imhw->irhw", features, up.weight.detach().double())
        bias = get_bias(to_rgb).double() + features @ get_bias(up).double()
        if up.stride == (1, 1):
            # With stride 1, a transposed convolution is a convolution with the kernel turned by 180 degrees.
            turned = weight.transpose(0, 1).flip(2, 3)
            self.upsample: nn.Module = JoinedConv(make_conv(turned, bias, to_rgb.weight, padding=1), 2)
        else:
            self.upsample = SubPixelUpsample(weight, bias, to_rgb.weight, num_maps=2)
        self.colour = make_conv(matrix[:, up.out_channels :, None, None], None, to_rgb.weight)

    def forward(self, image_NCHW: Tensor, guide_NGHW: Tensor) -> Tensor:
        x = image_NCHW if self.in_channels == 3 else torch.cat([image_NCHW, guide_NGHW], dim=1)
        skip = self.conv(x)
        return self.upsample(self.depthconv(self.layers(skip)), skip) + self.colour(image_NCHW)  # type: ignore[no-any-return]
