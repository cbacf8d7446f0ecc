"""WavePaint: a stack of WaveMix modules. Each refines the image that the previous one returned.

Source: P. Jeevan et al., "WavePaint: Resource-efficient Token-mixer for Self-supervised Inpainting"
(arXiv 2307.00407), figure 2 and section 3. With one module it is WaveMix-Inpainting (D. Kumar et al.,
"Resource-efficient Image Inpainting", 2023). Parameter names are those of the released checkpoints.

The defaults give the paper's network. :mod:`wavepaint.models.inputs` contains this project's additions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavepaint.arguments import check_int
from wavepaint.errors import ConfigError
from wavepaint.models.inputs import INITIAL_GATE, InputBuilder, apply_gates
from wavepaint.models.network import InpaintingNetwork
from wavepaint.models.wavemix import CONVOLUTION, BlockConfig, ResidualBlocks, WaveMixBlock
from wavepaint.ops.dwt import HAAR, check_wavelet
from wavepaint.ops.matched_details import BLOCK_SIDE, COARSE_LEVEL
from wavepaint.ops.shifted_details import NUM_DETAILS

WAVELET_ENTRY = "wavelet_name"
"""State-dict entry with the wavelet's name, present unless it is the authors' Haar. No weight depends on it."""

MIN_MULTIPLE = 4
"""Smallest size multiple."""

LEVELS_ENTRY = "prefill_num_levels"
"""State-dict entry with the number of levels of the initial fill, present unless it is 0."""


@dataclass(frozen=True, kw_only=True)
class WavePaintConfig(BlockConfig):
    """Hyper-parameters of :class:`WavePaint`; :class:`BlockConfig` describes those of its blocks.

    Attributes:
        num_modules: Modules, each with its own stem and decoder.
        blocks_per_module: WaveMix blocks in each module.
        in_channels: 4 if the stems see image and mask, as in the paper; 3 if they see only the image, as in the
            authors' later weights.
        wavelet: A discrete wavelet of PyWavelets; the authors use Haar. ``"convolution"`` replaces the transform by
            learned convolutions.
        prefill_levels: Levels of the initial fill; 0 starts from a black hole, as in the paper.
        borrow: Use shifted details. Needs ``in_channels`` 4 and ``prefill_levels`` 1 or more.
        match: Use the matched detail, too. Needs ``borrow`` and ``prefill_levels`` 4 or more.
        input_reduction: The blocks work at half the image's size. Off, they work at its full size, at about four times
            the cost: "input size reduction" in tables 2 and 3 of WaveMix-Inpainting.

    Raises:
        ConfigError: A value out of range, or values that do not go together.
    """

    num_modules: int = 1
    blocks_per_module: int = 7
    mult: int = 2
    ff_channel: int = 16
    final_dim: int = 16
    dropout: float = 0.0
    level: int = 1
    in_channels: int = 4
    wavelet: str = "haar"
    prefill_levels: int = 0
    borrow: bool = False
    match: bool = False
    input_reduction: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("num_modules", self.num_modules, 1)
        check_int("blocks_per_module", self.blocks_per_module, 1)
        check_int("in_channels", self.in_channels, 3, 4)
        check_int("prefill_levels", self.prefill_levels, 0)
        if self.wavelet != CONVOLUTION:
            check_wavelet(self.wavelet)
        for name in ("borrow", "match", "input_reduction"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}: expected true or false.")
        if self.borrow and (self.in_channels != 4 or not self.prefill_levels):
            raise ConfigError(
                f"borrow is on, with in_channels {self.in_channels} and prefill_levels {self.prefill_levels}: expected "
                "in_channels 4 and prefill_levels 1 or more, because shifted details are differences from the initial "
                "fill."
            )
        if self.match and (not self.borrow or self.prefill_levels < COARSE_LEVEL):
            raise ConfigError(
                f"match is on, with borrow {'on' if self.borrow else 'off'} and prefill_levels {self.prefill_levels}: "
                f"expected borrow on and prefill_levels {COARSE_LEVEL} or more, because the search for matches starts "
                "from both."
            )

    @property
    def size_multiple(self) -> int:
        # Without reduction 2 would do for one level, but the fused stem needs rows between the first and the last.
        multiple = int(max(2 ** (self.level + self.input_reduction), MIN_MULTIPLE))
        return max(multiple, BLOCK_SIDE) if self.match else multiple

    @property
    def num_details(self) -> int:
        """Number B of details."""
        return NUM_DETAILS * self.borrow + self.match


class WaveMixModule(nn.Module):
    """One encoder-decoder of WaveMix blocks: image (N, 3, H, W) and guide (N, G, H, W) -> (N, 3 + B, H, W).

    The output is a correction of the image, followed by B gates. In the paper's network B is 0 and the guide is the
    mask, so that G is 1; with details G is 1 + 3 B.

    Without input reduction, the second convolution has stride 1, and ``decoder1`` is the ConvTranspose 3x3 that keeps
    the size in the authors' earlier code (remag2069/WaveMix-Inpainting@8b637d6, ``suppliment.py``). The paper does not
    describe these layers. The kernel's shape tells the two networks apart.
    """

    def __init__(self, config: WavePaintConfig) -> None:
        super().__init__()
        dim, half = config.final_dim, config.final_dim // 2
        self.in_channels = config.in_channels + 3 * config.num_details
        stride, kernel_size = (2, 4) if config.input_reduction else (1, 3)
        # The authors have no activation between the two convolutions.
        self.conv = nn.Sequential(nn.Conv2d(self.in_channels, half, 3, 1, 1), nn.Conv2d(half, dim, 3, stride, 1))
        self.layers = ResidualBlocks(WaveMixBlock(config, config.wavelet) for _ in range(config.blocks_per_module))
        self.depthconv = nn.Sequential(nn.Conv2d(dim, dim, 5, groups=dim, padding=2), nn.GELU(), nn.BatchNorm2d(dim))
        up = nn.ConvTranspose2d(2 * dim, half, kernel_size, stride=stride, padding=1)
        self.decoder1 = nn.Sequential(up, nn.BatchNorm2d(half))
        self.decoder2 = nn.Sequential(nn.Conv2d(half + 3, 3 + config.num_details, 1))

    def forward(self, image_NCHW: Tensor, guide_NGHW: Tensor) -> Tensor:
        x = image_NCHW if self.in_channels == 3 else torch.cat([image_NCHW, guide_NGHW], dim=1)  # (N, 3 + G, H, W)
        skip = self.conv(x)  # (N, D, h, w), half the size with input reduction
        x = self.depthconv(self.layers(skip))  # (N, D, h, w)
        x = self.decoder1(torch.cat([x, skip], dim=1))  # (N, D/2, H, W)
        return self.decoder2(torch.cat([x, image_NCHW], dim=1))  # type: ignore[no-any-return]  # (N, 3 + B, H, W)


class WavePaint(InpaintingNetwork):
    """WavePaint. Inside the hole the output is not clamped to [0, 1]."""

    def __init__(self, config: WavePaintConfig) -> None:
        super().__init__()
        self.config = config
        self.size_multiple = config.size_multiple
        self.build_inputs = InputBuilder(
            num_levels=config.prefill_levels, with_details=config.borrow, with_matches=config.match
        )
        # These settings change the output but no weight. The state dict records them, so that loading compares them.
        if config.prefill_levels:
            self.register_buffer(LEVELS_ENTRY, torch.tensor(config.prefill_levels))
        if config.wavelet not in HAAR:
            self.register_buffer(WAVELET_ENTRY, encode_wavelet(config.wavelet))
        self.wavemodules = nn.ModuleList(WaveMixModule(config) for _ in range(config.num_modules))

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        x, guide, details = self.build_inputs(known_NCHW, mask_N1HW)  # (N, 3, H, W), (N, G, H, W), (N, 3 B, H, W)
        for module in self.wavemodules:
            correction = apply_gates(module(x, guide), details)  # (N, 3, H, W)
            x = correction + x  # (N, 3, H, W)
        return x

    def start_from_initial_fill(self) -> None:
        """Set the last layers so that an untrained network returns its initial fill.

        With details, the first module adds one of them with a gate of :data:`INITIAL_GATE`: the matched one if there
        is one, or else the first.
        """
        for index, module in enumerate(self.wavemodules):
            weight, bias = module.get_submodule("decoder2").parameters()
            nn.init.zeros_(weight)
            nn.init.zeros_(bias)
            if self.config.borrow and index == 0:
                nn.init.constant_(bias[-1 if self.config.match else 3], INITIAL_GATE)


def encode_wavelet(name: str) -> Tensor:
    """Return a wavelet's name as a state-dict entry: its bytes, (length,) uint8."""
    return torch.tensor(list(name.encode()), dtype=torch.uint8)
