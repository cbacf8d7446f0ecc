"""Checked half precision: float32 inputs and outputs, float16 or bfloat16 inside, and float32 where that is too coarse.

The precision is written into the network before the export, so the file is strongly typed. TensorRT 11 and TensorRT-RTX
need that, and every other engine reads it too. Known pixels are composed in float32 and stay bit-identical.

A guard runs the emulated half network beside the float32 one. If a value overflows or the error exceeds the budget, the
guard finds a minimal set of layers that must stay in float32, by bisection (U. Junker, "QuickXplain: Preferred
Explanations and Relaxations for Over-Constrained Problems", 2004).
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavepaint.errors import VerificationError
from wavepaint.export.cases import Case
from wavepaint.export.fusion.batch_norm import fold_batch_norms
from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d
from wavepaint.runtime.engines.comparison import HALF_MIN_PSNR_DB, measure_psnr_hole_db

_TRANSFORMS = (RealDFT2d, InverseRealDFT2d)
"""Layers without weights whose sums are as long as a convolution's."""

FLAGS = {torch.float16: "--fp16", torch.bfloat16: "--bf16"}


class TypedLayer(nn.Module):
    """A layer that casts its input to its own precision.

    The output keeps that precision, so a large value passes from one float32 layer to the next. Sums of two precisions
    are float32.

    ``emulated`` rounds inputs and outputs to the precision and computes in float32, like engines that multiply in half
    and add in float32. PyTorch's float16 convolutions take 40 to 100 times as long on a CPU. Its matrix products do
    not, so Fourier transforms, which also round between their products, are not emulated.
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype, *, emulated: bool) -> None:
        super().__init__()
        self.emulated = emulated and not isinstance(layer, _TRANSFORMS)
        self.layer = layer.to(dtype).float() if self.emulated else layer.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.emulated:
            return self.layer(x.float(), *others).to(self.dtype)  # type: ignore[no-any-return]
        return self.layer(x, *others)  # type: ignore[no-any-return]


class HalfPrecision(nn.Module):
    """An inpainting network in half precision with float32 inputs and outputs."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, image_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        filled: Tensor = self.network(image_NCHW.to(self.dtype), mask_N1HW.to(self.dtype)).float()
        return filled * mask_N1HW + image_NCHW * (1 - mask_N1HW)


@dataclass(frozen=True, kw_only=True)
class HalfResult:
    """A half network with the guard's findings.

    Attributes:
        network: The network, with float32 inputs and outputs.
        kept_float32: Names of the layers that stay in float32.
        min_psnr_hole_db: Smallest PSNR inside the hole against float32 over the cases.
    """

    network: HalfPrecision
    kept_float32: list[str]
    min_psnr_hole_db: float


def _list_layers(network: nn.Module) -> list[str]:
    """Return the names of the layers that have a precision: those with weights, and Fourier transforms."""
    return [
        name
        for name, layer in network.named_modules()
        if list(layer.parameters(recurse=False)) or isinstance(layer, _TRANSFORMS)
    ]


def _halve_layers(network: nn.Module, kept: Sequence[str], dtype: torch.dtype, *, emulated: bool) -> HalfPrecision:
    """Return a copy in half precision, with the layers named in ``kept`` in float32."""
    network = copy.deepcopy(network)
    for name in _list_layers(network):
        parent, _, child = name.rpartition(".")
        layer = network.get_submodule(name)
        typed = TypedLayer(layer, torch.float32 if name in kept else dtype, emulated=emulated)
        setattr(network.get_submodule(parent), child, typed)
    return HalfPrecision(network, dtype)


def _min_psnr_db(half: nn.Module, cases: Sequence[Case], expected: Sequence[Tensor], budget_db: float) -> float:
    """Return the smallest PSNR inside the hole in dB, or minus infinity if a value is not finite.

    The measurement stops at the first case below ``budget_db``.
    """
    worst = math.inf
    for (_, image, mask), reference in zip(cases, expected, strict=True):
        with torch.inference_mode():
            output = half(torch.from_numpy(image), torch.from_numpy(mask)).clamp(0, 1)
        if not torch.isfinite(output).all():
            return -math.inf
        worst = min(worst, measure_psnr_hole_db(output.numpy(), reference.numpy(), mask))
        if worst < budget_db:
            break
    return worst


def to_half(
    network: nn.Module,
    cases: Sequence[Case],
    *,
    min_psnr_db: float = HALF_MIN_PSNR_DB,
    dtype: torch.dtype = torch.float16,
) -> HalfResult:
    """Convert a float32 inpainting network, and keep as few layers in float32 as the budget allows.

    Args:
        network: (image, mask) -> filled image, in evaluation mode.
        cases: Images and masks to measure with.
        min_psnr_db: Smallest PSNR inside the hole against float32, in dB.
        dtype: ``torch.float16`` or ``torch.bfloat16``.

    Raises:
        VerificationError: The budget is missed even with every layer in float32, because a sum between layers
            overflows.
    """
    network = fold_batch_norms(network)  # before rounding: otherwise weights are rounded twice
    with torch.inference_mode():
        expected = [network(torch.from_numpy(i), torch.from_numpy(m)).clamp(0, 1) for _, i, m in cases]
    measured: dict[frozenset[str], float] = {}

    def measure(kept: Sequence[str]) -> float:
        key = frozenset(kept)
        if key not in measured:
            half = _halve_layers(network, kept, dtype, emulated=True)
            measured[key] = _min_psnr_db(half, cases, expected, min_psnr_db)
        return measured[key]

    def find_minimal(names: list[str], kept: list[str]) -> list[str]:
        if measure(kept) >= min_psnr_db:
            return []
        if len(names) == 1:
            return names
        left, right = names[: len(names) // 2], names[len(names) // 2 :]
        from_right = find_minimal(right, kept + left)
        return find_minimal(left, kept + from_right) + from_right

    layers = _list_layers(network)
    needed: list[str] = []
    if measure([]) < min_psnr_db:
        if measure(layers) < min_psnr_db:
            raise VerificationError(
                f"the network cannot be converted to {str(dtype).removeprefix('torch.')}: with every layer in float32 "
                f"the PSNR inside the hole is still below {min_psnr_db:g} dB. Export it without {FLAGS[dtype]}."
            )
        needed = find_minimal(layers, [])
    return HalfResult(
        network=_halve_layers(network, needed, dtype, emulated=False).eval(),
        kept_float32=needed,
        min_psnr_hole_db=measure(needed),
    )
