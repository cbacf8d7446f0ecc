"""Exact fusion: rewrite a network so that it costs less to run and computes the same.

Neighbouring linear maps (convolutions, the wavelet transform, BatchNorm in evaluation mode, concatenation) are composed
wherever that saves multiply-accumulates (MAC), borders included:

* A wavelet transform and the 1x1 convolution behind it become one convolution of stride 2 on a quarter of the channels.
  At every level it costs what the 1x1 convolution costs.
* The two stem convolutions become one 5x5 (or 7x7) convolution. The zero padding between the two affects only the first
  row and column, which the original pair computes on thin strips.
* The decoder (ConvTranspose, BatchNorm, concatenation with the image, 1x1 convolution) becomes one ConvTranspose to 3
  channels, 5 with shifted details, and a 3x3 colour matrix. The ConvTranspose is run as a 2x2 convolution to four times
  as many channels and a pixel shuffle, because engines are slow at a ConvTranspose with few outputs.
* A segmenter's last ConvTranspose and the 1x1 convolution behind it become one ConvTranspose to the classes, and the
  head's upsampling gets the form of the blocks'.
* A BatchNorm behind a convolution goes into its weights.

A BatchNorm *before* a zero-padded convolution (WavePaint's ``depthconv``) stays, because its shift must not reach the
padding.

The block's ConvTranspose 4x4 of stride 2 then dominates. It has two exact forms
(:data:`~wavepaint.export.fusion.upsampling.Upsampling`), and engines differ in which they run faster
(``benchmarks/upsampling.py``):

* ``"transposed"``: unchanged.
* ``"phases"``: four 2x2 convolutions, one for each phase of the output grid. With the Haar wavelet the phases stay
  apart between blocks: the next block's 1x1 reduction and residual sum work on each phase, and its 2x2 wavelet
  convolution of stride 2 is a 1x1 convolution of all four.

Weights are composed in float64 and rounded once. BatchNorms are folded in the network's precision.
"""

import copy

from torch import nn

from wavepaint.export.fusion.batch_norm import drop_batch_norms, fold_in_place
from wavepaint.export.fusion.upsampling import Upsampling, upsample_in_phases
from wavepaint.export.fusion.wavemix import FusedWaveMixBlock, FusedWaveMixModule, fuse_blocks, fuse_head, fuse_stem
from wavepaint.models.lama import LaMa
from wavepaint.models.wavemix import ResidualBlocks, WaveMixBlock
from wavepaint.models.wavemix_networks import WaveMixSegmenter
from wavepaint.models.wavepaint import WaveMixModule


def fuse(network: nn.Module, *, upsampling: Upsampling = "phases") -> nn.Module:
    """Return a fused copy of a network, in evaluation mode.

    It equals the original up to rounding: 1e-5 in float32 and 1e-10 in float64 on values near 1. Unknown modules are
    kept, with BatchNorms folded where they directly follow a convolution in a ``Sequential``.
    """
    return _rewrite(copy.deepcopy(network).eval(), upsampling).requires_grad_(False)


def _rewrite(module: nn.Module, upsampling: Upsampling) -> nn.Module:
    if isinstance(module, WaveMixModule):
        return FusedWaveMixModule(module, upsampling)
    if isinstance(module, ResidualBlocks):
        return fuse_blocks(module, upsampling)
    if isinstance(module, WaveMixBlock):
        return FusedWaveMixBlock(module, upsampling)
    for name, child in module.named_children():
        setattr(module, name, _rewrite(child, upsampling))
    fold_in_place(module)
    if isinstance(module, LaMa) and upsampling == "phases":
        upsample_in_phases(module.model)
    if isinstance(module, WaveMixSegmenter):
        fuse_head(module.get_head())
        if upsampling == "phases":
            upsample_in_phases(module.get_head())
    return fuse_stem(drop_batch_norms(module)) if isinstance(module, nn.Sequential) else module
