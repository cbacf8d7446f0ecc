"""WaveMix: token mixing by a multi-level wavelet transform, and the networks built of it alone.

Sources: P. Jeevan et al., "WaveMix: A Resource-efficient Neural Network for Image Analysis" (arXiv 2205.14375),
figure 1 and section 3. Parameter names are those of the authors' released checkpoints.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError, ImageError
from wavepaint.models.network import Network
from wavepaint.ops.dwt import DWT2d

MAX_LEVEL = 4


def _feedforward(in_channels: int, hidden: int, ff_channel: int, out_channels: int, dropout: float) -> nn.Sequential:
    """Mix channels at half the size, then double the size: (N, in, h, w) -> (N, out, 2h, 2w)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Conv2d(hidden, ff_channel, 1),
        nn.ConvTranspose2d(ff_channel, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
    )


class WaveMixBlock(nn.Module):
    """One WaveMix block without its residual: (N, final_dim, H, W) -> (N, final_dim, H, W).

    The channels are reduced to a quarter and transformed over ``level`` levels; each level's four bands are
    ``final_dim`` channels again. From the coarsest to the finest, a level's bands and the coarser result pass a
    feed-forward that doubles the size.

    Args:
        final_dim: Channels; a multiple of 4.
        mult: Hidden channels of the feed-forward, as a multiple of ``final_dim``.
        ff_channel: Channels between the feed-forward and its transposed convolution.
        dropout: Dropout probability after the activation.
        level: Wavelet levels, 1 to 4. H and W must be multiples of 2 ** level.
        wavelet: A discrete wavelet of PyWavelets; the authors use Haar.

    Raises:
        ConfigError: A value outside of these.
    """

    def __init__(
        self,
        *,
        final_dim: int,
        mult: int = 2,
        ff_channel: int = 16,
        dropout: float = 0.5,
        level: int = 1,
        wavelet: str = "haar",
    ) -> None:
        super().__init__()
        if not 1 <= level <= MAX_LEVEL:
            raise ConfigError(f"level is {level}: expected 1 to {MAX_LEVEL} wavelet levels.")
        if final_dim < 4 or final_dim % 4:
            raise ConfigError(f"final_dim is {final_dim}: expected a positive multiple of 4.")
        if mult < 1 or ff_channel < 1:
            raise ConfigError(f"mult is {mult} and ff_channel {ff_channel}: expected 1 or more.")
        self.level = level
        self.reduction = nn.Conv2d(final_dim, final_dim // 4, 1)
        self.dwt = DWT2d(final_dim // 4, wavelet, border="cropped")
        hidden, half = mult * final_dim, final_dim // 2
        if level == 1:
            self.feedforward = _feedforward(final_dim, hidden, ff_channel, final_dim, dropout)
        else:
            for n in range(1, level + 1):
                in_channels = final_dim if n == level else final_dim + half
                out_channels = final_dim if n == 1 else half
                self.add_module(f"feedforward{n}", _feedforward(in_channels, hidden, ff_channel, out_channels, dropout))

    def make_feedforward(self, n: int) -> nn.Sequential:
        """Return the feed-forward of level ``n``, 1 being the finest."""
        module = self.feedforward if self.level == 1 else self.get_submodule(f"feedforward{n}")
        assert isinstance(module, nn.Sequential)
        return module

    def forward(self, x_NCHW: Tensor) -> Tensor:
        low = self.reduction(x_NCHW)
        bands: list[Tensor] = []
        for _ in range(self.level):
            low, high = self.dwt(low)
            bands.append(torch.cat([low, high], dim=1))
        out = self.make_feedforward(self.level)(bands[-1])
        for n in range(self.level - 1, 0, -1):
            out = self.make_feedforward(n)(torch.cat([bands[n - 1], out], dim=1))
        return out  # type: ignore[no-any-return]


class ResidualBlocks(nn.ModuleList):
    """Blocks one after another, each added to its input: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        for block in self:
            x_NCHW = block(x_NCHW) + x_NCHW
        return x_NCHW


InitialConv = Literal["strided", "patchify", "pachify"]


class _WaveMix(Network):
    """What classifier and segmenter share: (N, 3, H, W) -> features of the blocks (N, final_dim, H', W').

    The arguments are the authors'. ``initial_conv`` is ``"strided"`` (two convolutions of stride ``stride``) or
    ``"patchify"`` (also spelled ``"pachify"``, as the authors do): patches of ``patch_size`` pixels. Sizes between the
    multiples are taken where the stem rounds them to features that ``level`` halvings divide.

    Raises:
        ConfigError: A value that makes no sense.
        ImageError: From ``forward``, where the blocks cannot halve the features.
    """

    conv: nn.Sequential
    layers: ResidualBlocks
    feature_multiple: int

    def extract(self, image_NCHW: Tensor) -> Tensor:
        """Return the features behind the last block."""
        x = self.conv(image_NCHW)
        if not torch.compiler.is_exporting() and any(side % self.feature_multiple for side in x.shape[2:]):
            height, width = image_NCHW.shape[2:]
            raise ImageError(
                f"height {height} and width {width} give {x.shape[2]}x{x.shape[3]} features, and the blocks take "
                f"multiples of {self.feature_multiple}. Scale or pad the image to multiples of {self.size_multiple}."
            )
        return self.layers(x)  # type: ignore[no-any-return]


def _stem(final_dim: int, initial_conv: InitialConv, patch_size: int, stride: int) -> tuple[nn.Sequential, int]:
    """Return the stem of the two, and by what it divides height and width."""
    for name, value in (("stride", stride), ("patch_size", patch_size)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}: expected 1 or more.")
    if initial_conv == "strided":
        half = final_dim // 2
        return nn.Sequential(nn.Conv2d(3, half, 3, stride, 1), nn.Conv2d(half, final_dim, 3, stride, 1)), stride**2
    if initial_conv not in ("patchify", "pachify"):
        raise ConfigError(f"initial_conv is {initial_conv!r}: expected 'strided' or 'patchify'.")
    layers = nn.Sequential(
        nn.Conv2d(3, final_dim // 4, 3, 1, 1),
        nn.Conv2d(final_dim // 4, final_dim // 2, 3, 1, 1),
        nn.Conv2d(final_dim // 2, final_dim, patch_size, patch_size),
        nn.GELU(),
        nn.BatchNorm2d(final_dim),
    )
    return layers, patch_size


def _blocks(depth: int, final_dim: int, mult: int, ff_channel: int, dropout: float, level: int) -> ResidualBlocks:
    return ResidualBlocks(
        WaveMixBlock(final_dim=final_dim, mult=mult, ff_channel=ff_channel, dropout=dropout, level=level)
        for _ in range(depth)
    )


class WaveMixClassifier(_WaveMix):
    """WaveMix for classification: (N, 3, H, W) -> logits (N, num_classes). See :class:`_WaveMix`."""

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        depth: int = 16,
        mult: int = 2,
        ff_channel: int = 192,
        final_dim: int = 192,
        dropout: float = 0.5,
        level: int = 3,
        initial_conv: InitialConv = "patchify",
        patch_size: int = 4,
        stride: int = 2,
    ) -> None:
        super().__init__()
        self.conv, divisor = _stem(final_dim, initial_conv, patch_size, stride)
        self.layers = _blocks(depth, final_dim, mult, ff_channel, dropout, level)
        self.feature_multiple = 2**level
        self.size_multiple = divisor * self.feature_multiple
        # Index 1 stands where the released checkpoints have a parameter-free reshape; the Linear is pool.2.
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(final_dim, num_classes))

    def forward(self, image_NCHW: Tensor) -> Tensor:
        return self.pool(self.extract(image_NCHW))  # type: ignore[no-any-return]


class WaveMixSegmenter(_WaveMix):
    """WaveMix for segmentation: (N, 3, H, W) -> logits (N, num_classes, H', W'). See :class:`_WaveMix`.

    With the authors' ``stride`` of 2, or patches of 4 pixels, the output has the input's size.

    Two layouts are released: with a strided stem the head is called ``expand``; with patches the network is a
    classifier whose ``pool`` was replaced (the authors' for Cityscapes, whose ``head_dim`` is 128).

    Args:
        head_dim: Channels behind the head's first upsampling, twice those behind its second. 0: half of ``final_dim``.
    """

    def __init__(
        self,
        *,
        num_classes: int = 20,
        depth: int = 16,
        mult: int = 2,
        ff_channel: int = 256,
        final_dim: int = 256,
        dropout: float = 0.0,
        level: int = 4,
        initial_conv: InitialConv = "strided",
        patch_size: int = 4,
        stride: int = 2,
        head_dim: int = 0,
    ) -> None:
        super().__init__()
        self.conv, divisor = _stem(final_dim, initial_conv, patch_size, stride)
        self.layers = _blocks(depth, final_dim, mult, ff_channel, dropout, level)
        self.feature_multiple = 2**level
        self.size_multiple = divisor * self.feature_multiple
        head_dim = head_dim or final_dim // 2
        self._head_name = "expand" if initial_conv == "strided" else "pool"
        head = nn.Sequential(
            nn.ConvTranspose2d(final_dim, head_dim, 4, stride=2, padding=1),
            nn.ConvTranspose2d(head_dim, head_dim // 2, 4, stride=2, padding=1),
            nn.Conv2d(head_dim // 2, num_classes, 1),
        )
        self.add_module(self._head_name, head)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        return self.get_submodule(self._head_name)(self.extract(image_NCHW))  # type: ignore[no-any-return]


def count_modules(state: Mapping[str, Tensor], prefix: str) -> int:
    """Count the distinct indices of the entries ``{prefix}{index}.*`` in a state dict."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in state if key.startswith(prefix)})


def detect_block(state: Mapping[str, Tensor], prefix: str) -> dict[str, int] | None:
    """Read final_dim, mult, ff_channel and level of the block at ``prefix`` from names and shapes."""
    reduction = state.get(f"{prefix}reduction.weight")
    if reduction is None:
        return None
    name = "feedforward" if f"{prefix}feedforward.0.weight" in state else "feedforward1"
    first, second = state.get(f"{prefix}{name}.0.weight"), state.get(f"{prefix}{name}.3.weight")
    if first is None or second is None:
        return None
    final_dim = reduction.shape[1]
    return {
        "final_dim": final_dim,
        "mult": first.shape[0] // final_dim,
        "ff_channel": second.shape[0],
        "level": max(sum(f"{prefix}feedforward{n}.0.weight" in state for n in range(1, MAX_LEVEL + 1)), 1),
    }


def _detect_stem(state: Mapping[str, Tensor]) -> dict[str, int | str | None] | None:
    """Read the arguments of :class:`_WaveMix`; None if the state dict is of another architecture."""
    block = detect_block(state, "layers.0.")
    if block is None:
        return None
    found: dict[str, int | str | None] = {**block, "depth": count_modules(state, "layers.")}
    if "conv.2.weight" in state:
        return {**found, "initial_conv": "patchify", "patch_size": state["conv.2.weight"].shape[-1]}
    # The authors released strided stems of stride 1 and of stride 2, with the same names and shapes.
    return {**found, "initial_conv": "strided", "stride": None}


def detect_classifier(state: Mapping[str, Tensor]) -> dict[str, int | str | None] | None:
    """Read the arguments of :class:`WaveMixClassifier` from a state dict; None if it is of another architecture.

    A strided stem's stride leaves no trace: it is None.
    """
    found, last = _detect_stem(state), state.get("pool.2.weight")
    if found is None or last is None or last.ndim != 2:
        return None
    return {**found, "num_classes": last.shape[0]}


def detect_segmenter(state: Mapping[str, Tensor]) -> dict[str, int | str | None] | None:
    """Read the arguments of :class:`WaveMixSegmenter` from a state dict; None if it is of another architecture.

    A strided stem's stride leaves no trace: it is None.
    """
    found = _detect_stem(state)
    head = "expand" if found is not None and found["initial_conv"] == "strided" else "pool"
    first, last = state.get(f"{head}.0.weight"), state.get(f"{head}.2.weight")
    if found is None or first is None or last is None or last.ndim != 4:
        return None
    return {**found, "num_classes": last.shape[0], "head_dim": first.shape[1]}
