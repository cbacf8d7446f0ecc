"""WaveMix for classification, segmentation and super-resolution: a stem, WaveMix blocks and a head.

Source: P. Jeevan et al., "WaveMix: A Resource-efficient Neural Network for Image Analysis" (arXiv 2205.14375), figure 1
and section 3. Parameter names are those of the authors' released checkpoints.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from wavepaint.arguments import check_choice, check_int
from wavepaint.errors import ImageError
from wavepaint.models.network import Network
from wavepaint.models.wavemix import BlockConfig, ResidualBlocks, WaveMixBlock

InitialConv = Literal["strided", "patchify", "pachify"]


@dataclass(frozen=True, kw_only=True)
class WaveMixConfig(BlockConfig):
    """Hyper-parameters of both networks; :class:`BlockConfig` describes those of their blocks.

    Attributes:
        num_classes: Classes.
        depth: WaveMix blocks.
        initial_conv: The stem: ``"strided"`` is two convolutions of stride ``stride``, ``"patchify"`` (also spelled
            ``"pachify"``, as the authors do) takes patches of ``patch_size`` pixels.
        patch_size: See ``initial_conv``.
        stride: See ``initial_conv``.

    Raises:
        ConfigError: A value out of range.
    """

    num_classes: int
    depth: int = 16
    initial_conv: InitialConv = "patchify"
    patch_size: int = 4
    stride: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("num_classes", self.num_classes, 1)
        check_int("depth", self.depth, 0)
        check_choice("initial_conv", self.initial_conv, ("strided", "patchify", "pachify"))
        check_int("patch_size", self.patch_size, 1)
        check_int("stride", self.stride, 1)

    @property
    def size_multiple(self) -> int:
        divisor = self.stride**2 if self.initial_conv == "strided" else self.patch_size
        return int(divisor * 2**self.level)


@dataclass(frozen=True, kw_only=True)
class WaveMixClassifierConfig(WaveMixConfig):
    """Hyper-parameters of :class:`WaveMixClassifier`, with the authors' defaults; see :class:`WaveMixConfig`."""

    num_classes: int = 1000
    ff_channel: int = 192
    final_dim: int = 192
    level: int = 3


@dataclass(frozen=True, kw_only=True)
class WaveMixSegmenterConfig(WaveMixConfig):
    """Hyper-parameters of :class:`WaveMixSegmenter`, with the authors' defaults; see :class:`WaveMixConfig`.

    Attributes:
        head_dim: Channels after the head's first upsampling, twice those after its second. 0: half of ``final_dim``.
    """

    num_classes: int = 20
    ff_channel: int = 256
    final_dim: int = 256
    dropout: float = 0.0
    level: int = 4
    initial_conv: InitialConv = "strided"
    head_dim: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("head_dim", self.head_dim, 0)


class _WaveMix(Network):
    """Stem and blocks of both networks. An image of another size works if the blocks can halve the stem's output.

    Raises:
        ImageError: From ``forward``: the blocks cannot halve the stem's output.
    """

    def __init__(self, config: WaveMixConfig) -> None:
        super().__init__()
        self.size_multiple = config.size_multiple
        self.feature_multiple = 2**config.level
        self.conv = _make_stem(config)
        self.layers = ResidualBlocks(WaveMixBlock(config) for _ in range(config.depth))

    def extract(self, image_NCHW: Tensor) -> Tensor:
        """Return the last block's output: (N, 3, H, W) -> (N, D, h, w)."""
        x = self.conv(image_NCHW)  # (N, D, h, w)
        if not torch.compiler.is_exporting() and any(side % self.feature_multiple for side in x.shape[2:]):
            height, width = image_NCHW.shape[2:]
            raise ImageError(
                f"height {height} and width {width} give {x.shape[2]}x{x.shape[3]} features, and the blocks take "
                f"multiples of {self.feature_multiple}. Scale or pad the image to multiples of {self.size_multiple}."
            )
        return self.layers(x)  # type: ignore[no-any-return]


def _make_stem(config: WaveMixConfig) -> nn.Sequential:
    dim, half, stride = config.final_dim, config.final_dim // 2, config.stride
    if config.initial_conv == "strided":
        return nn.Sequential(nn.Conv2d(3, half, 3, stride, 1), nn.Conv2d(half, dim, 3, stride, 1))
    return nn.Sequential(
        nn.Conv2d(3, dim // 4, 3, 1, 1),
        nn.Conv2d(dim // 4, half, 3, 1, 1),
        nn.Conv2d(half, dim, config.patch_size, config.patch_size),
        nn.GELU(),
        nn.BatchNorm2d(dim),
    )


class WaveMixClassifier(_WaveMix):
    """WaveMix for classification: (N, 3, H, W) -> logits (N, num_classes)."""

    def __init__(self, config: WaveMixClassifierConfig) -> None:
        super().__init__(config)
        # The released checkpoints have a reshape without parameters at index 1, so that the Linear is pool.2.
        self.pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(config.final_dim, config.num_classes)
        )

    def forward(self, image_NCHW: Tensor) -> Tensor:
        return self.pool(self.extract(image_NCHW))  # type: ignore[no-any-return]


class WaveMixSegmenter(_WaveMix):
    """WaveMix for segmentation: (N, 3, H, W) -> logits (N, num_classes, H', W').

    With the authors' ``stride`` of 2, or with patches of 4 pixels, the output has the input's size.

    The authors released two layouts. With a strided stem the head is called ``expand``. With a patch stem it is called
    ``pool``, because it replaces a classifier's (Cityscapes; ``head_dim`` is 128).
    """

    def __init__(self, config: WaveMixSegmenterConfig) -> None:
        super().__init__(config)
        head_dim = config.head_dim or config.final_dim // 2
        self._head_name = "expand" if config.initial_conv == "strided" else "pool"
        head = nn.Sequential(
            nn.ConvTranspose2d(config.final_dim, head_dim, 4, stride=2, padding=1),
            nn.ConvTranspose2d(head_dim, head_dim // 2, 4, stride=2, padding=1),
            nn.Conv2d(head_dim // 2, config.num_classes, 1),
        )
        self.add_module(self._head_name, head)

    def get_head(self) -> nn.Sequential:
        """Return the layers behind the blocks."""
        head = self.get_submodule(self._head_name)
        assert isinstance(head, nn.Sequential)
        return head

    def forward(self, image_NCHW: Tensor) -> Tensor:
        return self.get_head()(self.extract(image_NCHW))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class WaveMixSuperResolutionConfig(BlockConfig):
    """Hyper-parameters of :class:`WaveMixSuperResolution`, with the authors' defaults; see :class:`BlockConfig`.

    Attributes:
        depth: WaveMix blocks.
    """

    ff_channel: int = 144
    final_dim: int = 144
    dropout: float = 0.0
    depth: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("depth", self.depth, 0)

    @property
    def size_multiple(self) -> int:
        return int(2**self.level)


class WaveMixSuperResolution(Network):
    """WaveMix for super-resolution: (N, 3, H, W) in [0, 1] -> (N, 3, 2H, 2W), not clamped.

    Source: ``wavemix/sisr.py`` of github.com/pranavphoenix/WaveMix at ba3d1b4. The authors published no weights.

    Raises:
        ImageError: From ``forward``: height or width is not a multiple of the size multiple.
    """

    def __init__(self, config: WaveMixSuperResolutionConfig) -> None:
        super().__init__()
        dim, half = config.final_dim, config.final_dim // 2
        self.size_multiple = config.size_multiple
        self.conv = nn.Sequential(nn.Conv2d(3, half, 3, 1, 1), nn.Conv2d(half, dim, 3, 1, 1))
        self.layers = ResidualBlocks(WaveMixBlock(config) for _ in range(config.depth))
        self.expand = nn.Sequential(nn.ConvTranspose2d(dim, half, 4, stride=2, padding=1), nn.Conv2d(half, 3, 1))

    def forward(self, image_NCHW: Tensor) -> Tensor:
        self.check_size(image_NCHW)
        return self.expand(self.layers(self.conv(image_NCHW)))  # type: ignore[no-any-return]
