"""Exact fusion of LaMa: BatchNorms into the convolutions before them, and the decoder's upsampling in phases.

An FFC layer's BatchNorms follow sums of two branches, so each goes into the last convolution of both branches. The
Fourier transforms stay as they are: :mod:`wavepaint.ops.dft`.
"""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavepaint.models.lama import FFCLayer, FourierUnit, SpectralTransform


def fold_ffc_layer(layer: FFCLayer) -> None:
    """Fold the BatchNorms behind a fast Fourier convolution, in place."""
    ffc = layer.ffc
    for norm, first, second in (("bn_l", "convl2l", "convg2l"), ("bn_g", "convl2g", "convg2g")):
        batch_norm = getattr(layer, norm)
        if isinstance(batch_norm, nn.BatchNorm2d):
            _fold_last(ffc, first, batch_norm)
            if getattr(ffc, second) is not None:
                _fold_last(ffc, second, _without_shift(batch_norm))  # the sum needs the shift once
            setattr(layer, norm, nn.Identity())


def _fold_last(parent: nn.Module, name: str, batch_norm: nn.BatchNorm2d) -> None:
    branch = getattr(parent, name)
    if isinstance(branch, SpectralTransform):
        parent, name = branch, "conv2"
    setattr(parent, name, fuse_conv_bn_eval(getattr(parent, name), batch_norm))


def _without_shift(batch_norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    scale = copy.deepcopy(batch_norm)
    with torch.no_grad():
        for shift in (scale.bias, scale.running_mean):
            if shift is not None:
                shift.zero_()
    return scale


def fold_fourier_unit(unit: FourierUnit) -> None:
    """Fold the BatchNorm behind the convolution of the Fourier coefficients, in place."""
    if isinstance(unit.bn, nn.BatchNorm2d):
        unit.conv_layer = fuse_conv_bn_eval(unit.conv_layer, unit.bn)
        unit.bn = nn.Identity()
