"""WavePaint: a stack of WaveMix modules, each refining the image of the one before.

Source: P. Jeevan et al., "WavePaint: Resource-efficient Token-mixer for Self-supervised Inpainting"
(arXiv 2307.00407), figure 2 and section 3. With one module it is WaveMix-Inpainting (D. Kumar et al.,
"Resource-efficient Image Inpainting", 2023). Parameter names are those of the released checkpoints.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.models.wavemix import ResidualBlocks, WaveMixBlock, count_modules, detect_block
from wavepaint.ops.pyramid import pyramid_fill


class WaveMixModule(nn.Module):
    """One encoder-decoder of WaveMix blocks: image (N, 3, H, W) and mask (N, 1, H, W) -> correction (N, 3, H, W).

    ``in_channels`` is 4 where the stem sees image and mask (the paper's) and 3 where it sees the image alone (the
    authors' later weights).
    """

    def __init__(
        self,
        *,
        depth: int,
        final_dim: int,
        mult: int,
        ff_channel: int,
        dropout: float,
        level: int,
        in_channels: int,
        wavelet: str,
    ) -> None:
        super().__init__()
        half = final_dim // 2
        self.in_channels = in_channels
        # The authors have no activation between the two.
        self.conv = nn.Sequential(nn.Conv2d(in_channels, half, 3, 1, 1), nn.Conv2d(half, final_dim, 3, 2, 1))
        self.layers = ResidualBlocks(
            WaveMixBlock(
                final_dim=final_dim, mult=mult, ff_channel=ff_channel, dropout=dropout, level=level, wavelet=wavelet
            )
            for _ in range(depth)
        )
        self.depthconv = nn.Sequential(
            nn.Conv2d(final_dim, final_dim, 5, groups=final_dim, padding=2), nn.GELU(), nn.BatchNorm2d(final_dim)
        )
        self.decoder1 = nn.Sequential(
            nn.ConvTranspose2d(2 * final_dim, half, 4, stride=2, padding=1), nn.BatchNorm2d(half)
        )
        self.decoder2 = nn.Sequential(nn.Conv2d(half + 3, 3, 1))

    def forward(self, image_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x = torch.cat([image_NCHW, mask_N1HW], dim=1) if self.in_channels == 4 else image_NCHW
        skip = self.conv(x)
        x = torch.cat([self.depthconv(self.layers(skip)), skip], dim=1)
        return self.decoder2(torch.cat([self.decoder1(x), image_NCHW], dim=1))  # type: ignore[no-any-return]


class WavePaint(nn.Module):
    """WavePaint: image (N, 3, H, W) in [0, 1] and mask (N, 1, H, W), 1 = hole -> filled image (N, 3, H, W).

    What the image holds inside the hole is ignored. Outside the hole the output is the input, bit for bit; inside
    it is not clamped. H and W must be multiples of 2 ** (level + 1).

    Args:
        num_modules: Modules, each with its own stem and decoder.
        blocks_per_module: WaveMix blocks in each.
        mult: See :class:`WaveMixBlock`; so for ``ff_channel``, ``final_dim``, ``dropout``, ``level``, ``wavelet``.
        in_channels: 4 (image and mask) or 3 (image alone).
        prefill_levels: Not the paper's. 0: the hole starts black, as in the paper. n > 0: it starts from
            :func:`pyramid_fill` over n levels. Such a network has one entry more in its state dict.

    Raises:
        ConfigError: A value outside of these.
    """

    def __init__(
        self,
        *,
        num_modules: int = 1,
        blocks_per_module: int = 7,
        mult: int = 2,
        ff_channel: int = 16,
        final_dim: int = 16,
        dropout: float = 0.0,
        level: int = 1,
        in_channels: int = 4,
        wavelet: str = "haar",
        prefill_levels: int = 0,
    ) -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise ConfigError(f"in_channels is {in_channels}: expected 4 (image and mask) or 3 (image alone).")
        if num_modules < 1 or blocks_per_module < 1:
            raise ConfigError(
                f"num_modules is {num_modules} and blocks_per_module {blocks_per_module}: expected 1 or more."
            )
        if prefill_levels < 0:
            raise ConfigError(f"prefill_levels is {prefill_levels}: expected 0 (no prefill) or more.")
        self.prefill_levels = prefill_levels
        if prefill_levels:
            # In the state dict, so that a prefilled network is never taken for one without.
            self.register_buffer("prefill_num_levels", torch.tensor(prefill_levels))
        self.wavemodules = nn.ModuleList(
            WaveMixModule(
                depth=blocks_per_module,
                final_dim=final_dim,
                mult=mult,
                ff_channel=ff_channel,
                dropout=dropout,
                level=level,
                in_channels=in_channels,
                wavelet=wavelet,
            )
            for _ in range(num_modules)
        )

    def start_from_prefill(self) -> None:
        """Set every module's last layer to zero, so that an untrained prefilled network returns the prefill."""
        for module in self.wavemodules:
            for parameter in module.get_submodule("decoder2").parameters():
                nn.init.zeros_(parameter)

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        """Return the whole image as the network sees it, known pixels too, for losses that look at those.

        Args:
            known_NCHW: The image, black inside the hole.
            mask_N1HW: 1 = hole.
        """
        x = pyramid_fill(known_NCHW, mask_N1HW, self.prefill_levels) if self.prefill_levels else known_NCHW
        for module in self.wavemodules:
            x = module(x, mask_N1HW) + x
        return x

    def forward(self, image_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        known = image_NCHW * (1 - mask_N1HW)
        return self.predict(known, mask_N1HW) * mask_N1HW + known


def detect_wavepaint(state: Mapping[str, Tensor]) -> dict[str, int] | None:
    """Read the arguments of :class:`WavePaint` from a state dict; None if it is of another architecture.

    ``dropout`` and ``wavelet`` leave no trace in names or shapes: 0 and Haar, as all released weights have it.
    """
    stem = state.get("wavemodules.0.conv.0.weight")
    block = detect_block(state, "wavemodules.0.layers.0.")
    if stem is None or block is None:
        return None
    prefill = state.get("prefill_num_levels")
    return {
        **block,
        "num_modules": count_modules(state, "wavemodules."),
        "blocks_per_module": count_modules(state, "wavemodules.0.layers."),
        "in_channels": stem.shape[1],
        "prefill_levels": 0 if prefill is None else int(prefill),
    }
