"""LPIPS, the learned perceptual distance between images, as a loss and as a metric.

Source: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018), section 3.1
and eq. 1, version 0.1 of the authors' weights. The trunks are ImageNet classifiers: A. Krizhevsky, "One weird trick
for parallelizing convolutional neural networks" (2014), and K. Simonyan and A. Zisserman, "Very Deep Convolutional
Networks for Large-Scale Image Recognition" (2014), configuration D.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips_weights import find_weights, read_weights
from wavepaint.weights.loading import load_strictly

Network = Literal["alexnet", "vgg16"]
NETWORKS: tuple[Network, ...] = get_args(Network)

# The authors compute x * 2 - 1, then shift by (-.030, -.088, -.188) and scale by (.458, .448, .450). For images in
# [0, 1] this equals normalisation by the mean and the standard deviation of ImageNet.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_EPSILON = 1e-10

_TAPS: dict[Network, tuple[int, ...]] = {"alexnet": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}
"""Indices of the compared layers in torchvision's numbering: ReLU 1 to 5 of AlexNet; ReLU 1_2, 2_2, 3_3, 4_3 and 5_3 of
VGG16."""
_CHANNELS: dict[Network, tuple[int, ...]] = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}
_SMALLEST: dict[Network, int] = {"alexnet": 31, "vgg16": 16}
"""Smallest sides in pixels that leave an output after the last pooling."""


def _alexnet() -> nn.Sequential:
    relu = [nn.ReLU(inplace=True) for _ in range(5)]
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), relu[0], nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), relu[1], nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), relu[2]),
        *(nn.Conv2d(384, 256, 3, padding=1), relu[3]),
        *(nn.Conv2d(256, 256, 3, padding=1), relu[4]),
    )


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


class LPIPS(nn.Module):
    """The perceptual distance, differentiable with respect to its first image.

    Its parameters are frozen. Convolutions follow autocast. Normalisation and all later operations use float32, or
    float64 if the module does. The weights are random; :func:`load_lpips` loads the authors' weights.

    Args:
        network: The trunk. The authors use the fast "alexnet" as a metric, and "vgg16" as a loss.

    Raises:
        ConfigError: There is no such trunk.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network = "alexnet") -> None:
        super().__init__()
        if network not in NETWORKS:
            raise ConfigError(f"--lpips-network is {network!r}: expected one of {', '.join(NETWORKS)}.")
        self.network: Network = network
        self.trunk = _alexnet() if network == "alexnet" else _vgg16()
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in _CHANNELS[network])
        # Not part of the weights, but moved to their device.
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def features(self, image_N3HW: Tensor) -> list[Tensor]:
        """Return five feature maps of the trunk after ReLU, fine to coarse, not normalised.

        Args:
            image_N3HW: In [0, 1].

        Raises:
            ConfigError: The images are too small for the trunk, or do not have three channels.
        """
        smallest = _SMALLEST[self.network]
        if image_N3HW.ndim != 4 or image_N3HW.shape[1] != 3 or min(image_N3HW.shape[2:]) < smallest:
            raise ConfigError(
                f"LPIPS ({self.network}) got images of shape {tuple(image_N3HW.shape)}: expected (N, 3, H, W) with "
                f"at least {smallest} pixels per side (--crop-size; in wp eval --size)."
            )
        x = (image_N3HW.to(self.mean.dtype) - self.mean) / self.std
        taps, maps = _TAPS[self.network], []
        for index, layer in enumerate(self.trunk):
            x = layer(x)
            if index in taps:
                maps.append(x)
        return maps

    def _compare_maps(self, a_NChw: Tensor, b_NChw: Tensor, head: Tensor) -> Tensor:
        """Weight the squared difference of unit vectors: (N, C, h, w) twice -> (N, 1, h, w)."""
        with torch.autocast(a_NChw.device.type, enabled=False):
            a, b = a_NChw.to(head.dtype), b_NChw.to(head.dtype)
            difference = _normalise(a) - _normalise(b)
            return F.conv2d(difference.square(), head)

    def compare(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> list[Tensor]:
        """Return the distance at each position of each layer, (N, 1, h, w) in float32, from two :meth:`features`.

        Several losses can thus share one pass through the trunk.
        """
        maps = []
        for a, b, weight in zip(features_a, features_b, self.heads.parameters(), strict=True):
            if torch.is_grad_enabled() and a.requires_grad:
                # The backward pass recomputes it, so that only one of five tensors of the map's size stays in memory.
                maps.append(checkpoint(self._compare_maps, a, b, weight, use_reentrant=False, preserve_rng_state=False))
            else:
                maps.append(self._compare_maps(a, b, weight))
        return maps

    def forward(self, a_N3HW: Tensor, b_N3HW: Tensor, *, spatial: bool = False) -> Tensor:
        """Return the distance of each pair of images, 0 for equal images.

        Args:
            a_N3HW: In [0, 1]. It gets gradients.
            b_N3HW: The target, in [0, 1]. It gets no gradients, which halves the memory.
            spatial: Return the distance at every pixel instead of its mean.

        Returns:
            (N,), or with ``spatial`` (N, 1, H, W): the sum of the bilinearly upscaled maps of the layers.

        Raises:
            ConfigError: The shapes differ, or the images are too small for the trunk.
        """
        if a_N3HW.shape != b_N3HW.shape:
            raise ConfigError(
                f"LPIPS got images of shapes {tuple(a_N3HW.shape)} and {tuple(b_N3HW.shape)}: expected equal shapes."
            )
        with torch.no_grad():
            features_b = self.features(b_N3HW)
        maps = self.compare(self.features(a_N3HW), features_b)
        return upscale_and_add(maps, (a_N3HW.shape[2], a_N3HW.shape[3])) if spatial else average_and_add(maps)


def _normalise(x_NChw: Tensor) -> Tensor:
    # Where no channel is active, the gradient of a square root is NaN, but that of vector_norm is 0.
    norm: Tensor = torch.linalg.vector_norm(x_NChw, dim=1, keepdim=True)
    return x_NChw / (norm + _EPSILON)


def average_and_add(maps: Sequence[Tensor]) -> Tensor:
    """Return the distance of whole images, (N,), from the maps of :meth:`LPIPS.compare`."""
    return torch.stack([layer.mean(dim=(1, 2, 3)) for layer in maps]).sum(dim=0)


def upscale_and_add(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the distance at every pixel, (N, 1, H, W), from the maps of :meth:`LPIPS.compare`."""
    upscaled = [F.interpolate(layer, size=size, mode="bilinear", align_corners=False) for layer in maps]
    return torch.stack(upscaled).sum(dim=0)


def load_lpips(
    network: Network, weights: Path | None = None, device: torch.device | str = "cpu", *, download: bool = False
) -> LPIPS:
    """Build the distance with the authors' weights.

    Args:
        network: The trunk.
        weights: A file or folder; None searches the places that
            :func:`~wavepaint.metrics.lpips_weights.find_weights` names.
        device: The device to compute on.
        download: Download missing weights from their official addresses.

    Raises:
        ConfigError: There is no such trunk.
        TrainingError: There are no weights, or the download failed. The message explains how to get them.
        CheckpointError: The weights are damaged, or belong to another network.
    """
    module = LPIPS(network)
    found = find_weights(network, weights, download=download)
    load_strictly(module, read_weights(found), found.paths[0])
    return module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
