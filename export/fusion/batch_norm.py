"""Fold BatchNorms into the convolutions before them."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavepaint.export.fusion.lama import fold_ffc_layer, fold_fourier_unit
from wavepaint.models.lama import FFCLayer, FourierUnit


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with BatchNorms folded into the convolutions before them; names are kept."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        fold_in_place(module)
    return network


def fold_in_place(layers: nn.Module) -> None:
    """Fold one module's own BatchNorms, and leave an Identity in place of each."""
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


def drop_batch_norms(layers: nn.Sequential) -> nn.Sequential:
    """Fold BatchNorms, then drop them and every other layer that does nothing in evaluation mode."""
    fold_in_place(layers)
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Dropout | nn.Identity)))
