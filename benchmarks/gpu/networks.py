"""The networks that are raced: as they are, fused in half precision, and what their arithmetic costs."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from wavepaint.bench.entrants import BASELINES, DEFAULT
from wavepaint.contract import PadMode, assets_folder
from wavepaint.errors import ConfigError
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.fusion.upsampling import Upsampling
from wavepaint.export.precision import HalfPrecision, to_half
from wavepaint.models.registry import build_model, get_architecture
from wavepaint.weights.checkpoint import read_checkpoint

SEED = 0
UPSAMPLING: Upsampling = "transposed"
"""The exact form that files in half precision have; see :mod:`wavepaint.export.fusion.fuse`."""

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny-wavepaint": (
        "wavepaint",
        {"num_modules": 2, "blocks_per_module": 1, "final_dim": 8, "mult": 2, "ff_channel": 8, "level": 1},
    ),
    "tiny-lama": ("lama", {"num_blocks": 1, "base_channels": 4, "global_channels": 24}),
}
"""What a dry run races in place of the real ones."""

_RECIPES = BASELINES | TINY
DEFAULT_CHECKPOINT = assets_folder() / "default.pt"


def build(name: str) -> nn.Module:
    """Build a model in float32 and evaluation mode: with its trained weights, or with random ones of a fixed seed.

    Raises:
        ConfigError: There is none of that name.
    """
    if name == DEFAULT:
        return read_checkpoint(DEFAULT_CHECKPOINT).build().eval()
    architecture, parameters = _recipe(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return build_model(architecture, parameters).eval()


def _recipe(name: str) -> tuple[str, dict[str, Any]]:
    if name not in _RECIPES:
        raise ConfigError(f"unknown model {name!r}: expected {DEFAULT} or one of {', '.join(_RECIPES)}.")
    return _RECIPES[name]


def find_size_multiple(name: str) -> int:
    """Return what a model's height and width must be multiples of."""
    if name == DEFAULT:
        checkpoint = read_checkpoint(DEFAULT_CHECKPOINT)
        return checkpoint.architecture.size_multiple(checkpoint.parameters)
    architecture, parameters = _recipe(name)
    return get_architecture(architecture).size_multiple(parameters)


def find_padding(name: str) -> PadMode:
    """Return how a raced model pads images of other sizes."""
    return get_architecture(_recipe(name)[0]).network.padding


def make_half(name: str) -> HalfPrecision:
    """Build a model fused, in float16 with float32 inputs and outputs: the network that is exported."""
    return to_half(fuse(build(name), upsampling=UPSAMPLING), ()).network


def make_plain_half(name: str) -> nn.Module:
    """Build the same for PyTorch: its weights are float16 and channels-last, and no layer casts for itself."""
    fused = fuse(build(name), upsampling=UPSAMPLING).half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return HalfPrecision(fused, torch.float16).eval()


class ByteIo(nn.Module):
    """A network behind bytes, as the uint8 edges of the contract have it, for sizes that need no padding."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_NHWC: Tensor, mask_NHW1: Tensor) -> Tensor:
        levels, hole = image_NHWC.float(), mask_NHW1 >= 128
        filled = self.network((levels / 255).permute(0, 3, 1, 2), hole.float().permute(0, 3, 1, 2))
        rounded = (filled.clamp(0, 1).permute(0, 2, 3, 1) * 255).round()
        return torch.where(hole, rounded, levels).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one image costs.

    Attributes:
        gmac: Thousand million multiply-accumulates of convolutions and matrix products; FFTs are not counted.
        layers: For every one of them its multiply-accumulates, the bytes that it reads and writes of the image, and
            those of its weights, which a batch reads once.
        largest: Elements of the largest tensor between any two operations.
    """

    gmac: float
    layers: tuple[tuple[float, float, float], ...]
    largest: int


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what every convolution and matrix product that runs costs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[tuple[float, float, float]] = []
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if isinstance(output, Tensor):
            self.largest = max(self.largest, output.numel())
        if count is not None:
            tensors = [value for value in (*args, output) if isinstance(value, Tensor)]
            # What is computed here is fake; a network's own tensors are not.
            num_bytes, weight_bytes = (
                sum(one.numel() * one.element_size() for one in tensors if isinstance(one, FakeTensor) == is_fake)
                for is_fake in (True, False)
            )
            self.layers.append((count(*args, **(kwargs or {}), out_val=output) / 2, num_bytes, weight_bytes))
        return output


@cache
def measure_work(name: str, side: int) -> Work:
    """Count what one image of a height and width costs in the fused network in float16, without computing it."""
    network = make_plain_half(name)
    counter = _Counter()
    # Fake tensors have shapes and no values. The meta device would do, but for autocast, which does not know it.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), counter:
        network(torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    gmac = sum(layer[0] for layer in counter.layers) / 1e9
    return Work(gmac=gmac, layers=tuple(counter.layers), largest=counter.largest)
