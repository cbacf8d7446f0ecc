"""The roofline of a GPU, measured in PyTorch, and the time it allows for the layers of a network.

Source of the idea: S. Williams, A. Waterman, D. Patterson, "Roofline" (2009).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from wavepaint.bench.cells import Cell, Result
from wavepaint.bench.entrants import Subject
from wavepaint.bench.roofline import CHANNELS, LAYERS, SIDE, find_best_seconds

MATRIX_SIDE, BATCH = 8192, 64
COPY_BYTES = 1 << 30
_CALLS_PER_EVENT = 8


@dataclass(frozen=True, kw_only=True)
class Card:
    """The highest rates measured on a device.

    Attributes:
        name: The device.
        gmac_per_s: Rate in half precision, the better of a matrix product and a chain of convolutions.
        copy_gb_per_s: Rate of copies within the device's memory, bytes read plus bytes written.
    """

    name: str
    gmac_per_s: float
    copy_gb_per_s: float


def measure_card(seconds: float = 0.5) -> Card:
    """Measure the first GPU. If PyTorch sees none, measure the CPU with small sizes."""
    import torch

    card = _measure(seconds)
    # PyTorch keeps freed memory of the GPU, and would free it during the first cell, whose memory would be negative.
    torch.cuda.empty_cache()
    return card


def _measure(seconds: float) -> Card:
    import torch
    import torch.nn.functional as F

    has_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.float16) if has_gpu else ("cpu", torch.float32)
    matrix_side, side, batch, num_bytes = MATRIX_SIDE, SIDE, BATCH, COPY_BYTES
    if not has_gpu:
        matrix_side, side, batch, num_bytes = 256, 32, 1, COPY_BYTES >> 6

    def best(call: Callable[[], object]) -> float:
        def run() -> None:
            for _ in range(_CALLS_PER_EVENT):
                call()
            if has_gpu:
                torch.cuda.synchronize()

        return find_best_seconds(run, seconds) / _CALLS_PER_EVENT

    with torch.inference_mode():
        a, b = (torch.randn(matrix_side, matrix_side, device=device).to(dtype) for _ in range(2))
        product = torch.empty_like(a)
        rates = [matrix_side**3 / 1e9 / best(lambda: torch.matmul(a, b, out=product))]
        layout: Any = {"device": device, "dtype": dtype}
        weight = torch.randn(CHANNELS, CHANNELS, 3, 3, **layout).to(memory_format=torch.channels_last) / 34
        image = torch.randn(batch, CHANNELS, side, side, **layout).to(memory_format=torch.channels_last)

        def convolve() -> None:
            x = image
            for _ in range(LAYERS):
                x = F.conv2d(x, weight, padding=1)

        rates.append(batch * side**2 * LAYERS * CHANNELS**2 * 9 / 1e9 / best(convolve))
        source = torch.zeros(num_bytes, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copy_gb_per_s = 2 * num_bytes / 1e9 / best(lambda: target.copy_(source))
    name = torch.cuda.get_device_name() if has_gpu else "CPU"
    return Card(name=name, gmac_per_s=max(rates), copy_gb_per_s=copy_gb_per_s)


class Layer(NamedTuple):
    """The cost of one convolution or matrix product for one image in float16.

    ``num_bytes`` counts inputs and output, ``weight_bytes`` the weights, which are read once for a whole batch.
    """

    macs: float
    num_bytes: float
    weight_bytes: float


@cache
def count_layers(subject_name: str, side: int, build: Callable[[], Any]) -> tuple[Layer, ...]:
    """Return the cost of every layer of a network, without computing it, as if everything were hole.

    Args:
        subject_name: Key of the cache, with the side.
        side: Height and width.
        build: Returns the fused network in float16.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    layers: list[Layer] = []

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.nonzero.default:  # everything is found, as in plans
                return args[0].new_empty(args[0].numel(), args[0].dim(), dtype=torch.int64)
            output = func(*args, **(kwargs or {}))
            count = flop_registry.get(func._overloadpacket)
            if count is not None:
                tensors = [value for value in (*args, output) if isinstance(value, torch.Tensor)]
                # Computed tensors are fake; the network's own weights are not.
                num_bytes, weight_bytes = (
                    sum(one.numel() * one.element_size() for one in tensors if isinstance(one, FakeTensor) == is_fake)
                    for is_fake in (True, False)
                )
                macs = count(*args, **(kwargs or {}), out_val=output) / 2
                layers.append(Layer(macs, num_bytes, weight_bytes))
            return output

    network = build()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), Counter():  # type: ignore[no-untyped-call]
        network(torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    return tuple(layers)


def find_layer_seconds(layers: Sequence[Layer], card: Card, batch: int) -> float:
    """Return the minimum seconds for one image: each layer is bound by arithmetic or memory, and all else is free."""
    return sum(
        max(
            layer.macs / 1e9 / card.gmac_per_s,
            (layer.num_bytes + layer.weight_bytes / batch) / 1e9 / card.copy_gb_per_s,
        )
        for layer in layers
    )


def add_card_shares(cell: Cell, result: Result, card: Card) -> Result:
    """Return a float16 result with its shares of the card's roofs; other results unchanged."""
    rate = result.compute_images_per_s
    if rate is None or cell.precision != "float16" or not isinstance(cell.subject, Subject):
        return result
    from wavepaint.bench.runners import fuse_in_half

    subject = cell.subject
    layers = count_layers(f"{subject.name} {subject.bundle.folder}", cell.height, lambda: fuse_in_half(subject))
    return replace(
        result,
        roofline=rate * result.gmac / card.gmac_per_s,
        layer_roofline=rate * find_layer_seconds(layers, card, cell.batch),
    )
