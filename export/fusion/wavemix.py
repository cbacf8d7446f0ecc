"""Exact fusion: rewrites of a network that reorder linear maps and change nothing else.

Neighbouring linear maps (convolutions, the wavelet transform, BatchNorm in evaluation mode, concatenation) are
composed wherever the composition costs fewer multiply-accumulates (MAC), borders included:

* wavelet transform and the 1x1 convolution behind it: one convolution of stride 2 on a quarter of the channels, of
  the same cost as the 1x1 alone, at every level;
* the two stem convolutions: one 5x5 (or 7x7) convolution; the first row and column, where the zero padding between
  the two makes a difference, are computed by the original pair on thin strips;
* the decoder (ConvTranspose, BatchNorm, concatenation with the image, 1x1 to 3 channels): one ConvTranspose to 3
  channels and a 3x3 colour matrix (to 5, where detail is borrowed); the ConvTranspose as a 2x2 convolution to four
  times as many channels and a pixel shuffle, which engines run faster than a ConvTranspose with few outputs;
* BatchNorm behind a convolution: into its weights.

A BatchNorm that stands *before* a zero-padded convolution (WavePaint's ``depthconv``) stays: its shift must not reach
into the padding, so it cannot be folded exactly.

What remains is mostly the block's ConvTranspose 4x4 of stride 2. It has two exact forms, and engines differ in which
they run faster (:data:`Upsampling`, ``benchmarks/upsampling.py``):

* ``"transposed"``: as it is;
* ``"phases"``: four 2x2 convolutions, one for each phase of the output grid. With the Haar wavelet the phases are
  never interleaved between blocks: the next block's 1x1 reduction and residual sum act on each alone, and its 2x2
  wavelet convolution of stride 2 is a 1x1 convolution of the four.

Weights are composed in float64 and rounded once; BatchNorms are folded in the precision of the network.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavepaint.export.fusion.lama import fold_ffc_layer, fold_fourier_unit, upsample_in_phases
from wavepaint.export.fusion.upsampling import PhaseUpsample, SubPixelUpsample, get_bias, interleave, make_conv
from wavepaint.models.lama import FFCLayer, FourierUnit, LaMa
from wavepaint.models.wavemix import ResidualBlocks, WaveMixBlock
from wavepaint.models.wavepaint import WaveMixModule

Upsampling = Literal["phases", "transposed"]
"""The form of the block's ConvTranspose; see the module's text."""


def fuse(network: nn.Module, *, upsampling: Upsampling = "phases") -> nn.Module:
    """Return a fused copy of a network, in evaluation mode; the original is not touched.

    Equal to the original up to rounding: 1e-5 in float32 and 1e-10 in float64 on values near 1. Modules that this
    file does not know are kept, with BatchNorms folded where they directly follow a convolution in a ``Sequential``.
    """
    return _rewrite(copy.deepcopy(network).eval(), upsampling).requires_grad_(False)


def _rewrite(module: nn.Module, upsampling: Upsampling) -> nn.Module:
    if isinstance(module, WaveMixModule):
        return FusedWaveMixModule(module, upsampling)
    if isinstance(module, ResidualBlocks) and upsampling == "phases" and all(map(_is_haar_block, module)):
        return PhaseBlocks(module)
    if isinstance(module, WaveMixBlock):
        return FusedWaveMixBlock(module, upsampling)
    for name, child in module.named_children():
        setattr(module, name, _rewrite(child, upsampling))
    _fold_in_place(module)
    if isinstance(module, LaMa) and upsampling == "phases":
        upsample_in_phases(module.model)
    if isinstance(module, nn.Sequential):
        return _fuse_stem(_fold_batch_norms(module))
    return module


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose BatchNorms behind a convolution are in its weights, names unchanged."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        _fold_in_place(module)
    return network


def _fold_in_place(layers: nn.Module) -> None:
    if isinstance(layers, FFCLayer):
        fold_ffc_layer(layers)
    elif isinstance(layers, FourierUnit):
        fold_fourier_unit(layers)
    if not isinstance(layers, nn.Sequential):
        return
    for index in range(1, len(layers)):
        former, layer = layers[index - 1], layers[index]
        if isinstance(layer, nn.BatchNorm2d) and isinstance(former, nn.Conv2d | nn.ConvTranspose2d):
            layers[index - 1] = fuse_conv_bn_eval(former, layer, transpose=isinstance(former, nn.ConvTranspose2d))
            layers[index] = nn.Identity()


def _fold_batch_norms(layers: nn.Sequential) -> nn.Sequential:
    """Fold, and drop what does nothing."""
    _fold_in_place(layers)
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Dropout | nn.Identity)))


class FusedStem(nn.Module):
    """Two 3x3 convolutions, the second of stride 2, as one; see the module's text.

    With strides s and 2 the composed kernel has 2s + 3 taps. Output row i >= 1 reads input rows from 2si - s - 1 on,
    so from the s - 1 th on for the first of them; only for s = 1 does the last one read a row of zeros behind the end.
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
        self.composed = make_conv(weight, bias, first.weight, stride=2 * stride)

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


def _fuse_stem(layers: nn.Sequential) -> nn.Sequential:
    """Compose the first two layers if they are a stem of known shape and the composition is cheaper."""
    if len(layers) < 2:
        return layers
    first, second = layers[0], layers[1]
    if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)):
        return layers
    shapes = all(c.kernel_size == (3, 3) and c.padding == (1, 1) and c.groups == 1 for c in (first, second))
    if not shapes or first.stride not in ((1, 1), (2, 2)) or second.stride != (2, 2):
        return layers
    stride = first.stride[0]
    pair = 4 * first.weight.numel() + second.weight.numel()  # MAC of one output pixel
    composed = (2 * stride + 3) ** 2 * first.in_channels * second.out_channels
    return nn.Sequential(FusedStem(first, second), *list(layers)[2:]) if composed < pair else layers


class FusedWaveMixBlock(nn.Module):
    """A WaveMix block whose wavelet transforms have gone into the convolutions behind them."""

    def __init__(self, block: WaveMixBlock, upsampling: Upsampling) -> None:
        super().__init__()
        self.reduction = block.reduction
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
            rest = _fold_batch_norms(nn.Sequential(*list(layers)[1:]))
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
    """A fused Haar block on a feature map that is kept as the four phases of its grid, each (N, C, H/2, W/2)."""

    def __init__(self, block: WaveMixBlock) -> None:
        super().__init__(block, "phases")
        finest = self.bands[0]
        assert isinstance(finest, nn.Conv2d)
        # Of every 2x2 patch each phase holds one pixel.
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


def _is_haar_block(module: nn.Module) -> bool:
    return isinstance(module, WaveMixBlock) and module.dwt.wavelet in ("haar", "db1")


class PhaseBlocks(ResidualBlocks):
    """Residual Haar blocks between which the phases are not interleaved; H and W must be even."""

    def __init__(self, blocks: ResidualBlocks) -> None:
        super().__init__(PhaseWaveMixBlock(block) for block in blocks if isinstance(block, WaveMixBlock))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        phases = [x_NCHW[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        for block in self:
            phases = [new + former for new, former in zip(block(phases), phases, strict=True)]
        return interleave(phases)


class FusedWaveMixModule(nn.Module):
    """A module of WavePaint whose decoder is one narrow upsampling and a colour matrix."""

    def __init__(self, module: WaveMixModule, upsampling: Upsampling) -> None:
        super().__init__()
        self.in_channels = module.in_channels
        self.conv = _fuse_stem(module.conv)
        self.layers = _rewrite(module.layers, upsampling)
        self.depthconv = module.depthconv
        up = _fold_batch_norms(module.decoder1)[0]
        to_rgb = module.decoder2[0]
        assert isinstance(up, nn.ConvTranspose2d)
        assert isinstance(to_rgb, nn.Conv2d)
        matrix = to_rgb.weight.detach()[:, :, 0, 0].double()
        features = matrix[:, : up.out_channels]
        weight = torch.einsum("rm,imhw->irhw", features, up.weight.detach().double())
        bias = get_bias(to_rgb).double() + features @ get_bias(up).double()
        self.upsample = SubPixelUpsample(weight, bias, to_rgb.weight)
        self.colour = make_conv(matrix[:, up.out_channels :, None, None], None, to_rgb.weight)

    def forward(self, image_NCHW: Tensor, guide_NGHW: Tensor) -> Tensor:
        x = image_NCHW if self.in_channels == 3 else torch.cat([image_NCHW, guide_NGHW], dim=1)
        skip = self.conv(x)
        x = torch.cat([self.depthconv(self.layers(skip)), skip], dim=1)
        return self.upsample(x) + self.colour(image_NCHW)  # type: ignore[no-any-return]
