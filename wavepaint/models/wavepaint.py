"""WavePaint: a stack of WaveMix modules, each refining the image of the one before.

Source: P. Jeevan et al., "WavePaint: Resource-efficient Token-mixer for Self-supervised Inpainting"
(arXiv 2307.00407), figure 2 and section 3. With one module it is WaveMix-Inpainting (D. Kumar et al.,
"Resource-efficient Image Inpainting", 2023). Parameter names are those of the released checkpoints.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.models.network import InpaintingNetwork
from wavepaint.models.wavemix import ResidualBlocks, WaveMixBlock, count_modules, detect_block
from wavepaint.ops.borrow import NUM_OFFERS, borrow_detail
from wavepaint.ops.dwt import HAAR
from wavepaint.ops.pyramid import fill_levels

SMOOTH_LEVEL = 4
"""Of the prefill, without which is left the detail that is borrowed: what cells of 16x16 pixels do not show."""

FIRST_SHARE = 0.7
"""Of the detail from right or left that an untrained network takes. Of five pairs of shares, 0.7 of it and none from
above or below had the least LPIPS on photographs in medium and thick holes: 0.274 and 0.336 behind a network trained
for L1 alone, which has 0.343 and 0.490 without."""


WAVELET_ENTRY = "wavelet_name"
"""Entry of a state dict with the wavelet's name as bytes, where it is not the authors' Haar. Weights do not show it."""


class WaveMixModule(nn.Module):
    """One encoder-decoder of WaveMix blocks: image (N, 3, H, W) and guide (N, G, H, W) -> (N, 3 + B, H, W).

    The guide is the mask, and with it what B places offer to lend. The result is a correction of the image and, for
    each offer, how much of it to take. ``in_channels`` is 4 + 3 B where the stem sees image and guide (the paper's: 4)
    and 3 where it sees the image alone (the authors' later weights).
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
        num_offers: int,
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
        self.decoder2 = nn.Sequential(nn.Conv2d(half + 3, 3 + num_offers, 1))

    def forward(self, image_NCHW: Tensor, guide_NGHW: Tensor) -> Tensor:
        x = image_NCHW if self.in_channels == 3 else torch.cat([image_NCHW, guide_NGHW], dim=1)
        skip = self.conv(x)
        x = torch.cat([self.depthconv(self.layers(skip)), skip], dim=1)
        return self.decoder2(torch.cat([self.decoder1(x), image_NCHW], dim=1))  # type: ignore[no-any-return]


class WavePaint(InpaintingNetwork):
    """WavePaint: image (N, 3, H, W) in [0, 1] and mask (N, 1, H, W), 1 = hole -> filled image (N, 3, H, W).

    What the image holds inside the hole is ignored. Outside the hole the output is the input, bit for bit; inside
    it is not clamped. H and W must be multiples of 2 ** (level + 1).

    Args:
        num_modules: Modules, each with its own stem and decoder.
        blocks_per_module: WaveMix blocks in each.
        mult: See :class:`WaveMixBlock`; so for ``ff_channel``, ``final_dim``, ``dropout`` and ``level``.
        in_channels: 4 (image and mask) or 3 (image alone).
        wavelet: See :class:`WaveMixBlock`. A network of another than Haar has one entry more in its state dict.
        prefill_levels: Not the paper's. 0: the hole starts black, as in the paper. n > 0: it starts from
            :func:`pyramid_fill` over n levels. Such a network has one entry more in its state dict.
        borrow: Not the paper's. Whether every module sees what :func:`borrow_detail` offers and says how much of it
            to take, pixel by pixel. Needs ``in_channels`` 4 and ``prefill_levels``.

    Raises:
        ConfigError: A value outside of these.
        ImageError: From ``forward``, where H or W is no such multiple.
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
        borrow: bool = False,
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
        if not isinstance(borrow, bool):
            raise ConfigError(f"borrow is {borrow!r}: expected true or false.")
        if borrow and (in_channels != 4 or not prefill_levels):
            raise ConfigError(
                f"borrow is on with in_channels {in_channels} and prefill_levels {prefill_levels}: expected 4 and from "
                "1 on, since what is borrowed is the difference from the prefill."
            )
        self.borrow = borrow
        self.prefill_levels = prefill_levels
        if prefill_levels:
            # In the state dict, so that a prefilled network is never taken for one without.
            self.register_buffer("prefill_num_levels", torch.tensor(prefill_levels))
        if wavelet not in HAAR:
            self.register_buffer(WAVELET_ENTRY, torch.tensor(list(str(wavelet).encode()), dtype=torch.uint8))
        self.wavemodules = nn.ModuleList(
            WaveMixModule(
                depth=blocks_per_module,
                final_dim=final_dim,
                mult=mult,
                ff_channel=ff_channel,
                dropout=dropout,
                level=level,
                in_channels=in_channels + 3 * NUM_OFFERS * borrow,
                num_offers=NUM_OFFERS * borrow,
                wavelet=wavelet,
            )
            for _ in range(num_modules)
        )
        self.size_multiple = 2 ** (level + 1)

    def start_from_initial_fill(self) -> None:
        """Set every module's last layer so that an untrained prefilled network returns the prefill.

        With :data:`FIRST_SHARE` of the detail that the first offer has, if it borrows.
        """
        for index, module in enumerate(self.wavemodules):
            weight, bias = module.get_submodule("decoder2").parameters()
            nn.init.zeros_(weight)
            nn.init.zeros_(bias)
            if self.borrow and index == 0:
                nn.init.constant_(bias[3], FIRST_SHARE)

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x, guide, offers = known_NCHW, mask_N1HW, None
        if self.prefill_levels:
            x, *coarser = fill_levels(known_NCHW, mask_N1HW, self.prefill_levels)
            if self.borrow:
                level = min(SMOOTH_LEVEL, self.prefill_levels)
                offers = borrow_detail(x, coarser[level - 1], mask_N1HW, 2**level)
                guide = torch.cat([mask_N1HW, offers], dim=1)
        for module in self.wavemodules:
            out = module(x, guide)
            x = (out if offers is None else _take_offers(out, offers)) + x
        return x


def _take_offers(out_NCHW: Tensor, offers_NBHW: Tensor) -> Tensor:
    """Return a module's correction with its shares of what is offered: (N, 3 + B, H, W), (N, 3 B, H, W)."""
    total = out_NCHW[:, :3]
    for n in range(NUM_OFFERS):
        total = out_NCHW[:, 3 + n : 4 + n] * offers_NBHW[:, 3 * n : 3 * n + 3] + total
    return total


def detect_wavepaint(state: Mapping[str, Tensor]) -> dict[str, int | bool | str] | None:
    """Read the arguments of :class:`WavePaint` from a state dict; None if it is of another architecture.

    ``dropout`` leaves no trace, and none is needed: it has no effect but in training.
    """
    stem = state.get("wavemodules.0.conv.0.weight")
    block = detect_block(state, "wavemodules.0.layers.0.")
    if stem is None or block is None:
        return None
    prefill = state.get("prefill_num_levels")
    last = state.get("wavemodules.0.decoder2.0.weight")
    borrow = last is not None and last.shape[0] == 3 + NUM_OFFERS
    found: dict[str, int | bool | str] = {
        **block,
        "num_modules": count_modules(state, "wavemodules."),
        "blocks_per_module": count_modules(state, "wavemodules.0.layers."),
        "in_channels": stem.shape[1] - 3 * NUM_OFFERS * borrow,
        "prefill_levels": 0 if prefill is None else int(prefill),
        "borrow": borrow,
    }
    if WAVELET_ENTRY in state:
        found["wavelet"] = bytes(state[WAVELET_ENTRY].tolist()).decode()
    return found
