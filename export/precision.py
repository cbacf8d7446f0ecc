"""Checked half precision: float32 inputs and outputs, float16 or bfloat16 inside, and float32 where that is too coarse.

The precision is written into the network before the export, so the file is strongly typed. TensorRT 11 and TensorRT-RTX
need that, and every other engine reads it too. Known pixels are composed in float32 and stay bit-identical.

A guard runs the emulated half network beside the float32 one. If a value overflows or the error exceeds the budget, the
guard finds a minimal set of layers that must stay in float32 (:mod:`wavepaint.export.minimal_set`).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from wavepaint.contract import INPAINTING, SUPER_RESOLUTION, Task
from wavepaint.errors import VerificationError
from wavepaint.export.cases import AnyCase, Image
from wavepaint.export.fusion.batch_norm import fold_batch_norms
from wavepaint.export.graphs import make_graph
from wavepaint.export.minimal_set import find_minimal
from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d
from wavepaint.runtime.engines.comparison import HALF_MIN_PSNR_DB, measure_psnr_hole_db
from wavepaint.runtime.engines.image_comparison import measure_psnr_db
from wavepaint.runtime.engines.logits_comparison import HALF_LOGITS, LogitsBudget

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


class HalfLogits(nn.Module):
    """A classifier or a segmenter in half precision with float32 inputs and outputs.

    The image stays float32 up to the first layer, so that its normalisation is exact.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_NCHW: Tensor) -> Tensor:
        return self.network(image_NCHW).float()  # type: ignore[no-any-return]


class Guard(ABC):
    """What a task's half network must reach.

    Attributes:
        task: What goes in and comes out.
        limit: Smallest value of :meth:`measure` that passes.
        detail: Name of the measured value in a manifest.
    """

    task: Task
    limit: float
    detail: str

    @abstractmethod
    def wrap(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a network of typed layers with float32 inputs and outputs."""

    @abstractmethod
    def measure(self, output: Image, expected: Image, inputs: Sequence[Image]) -> float:
        """Return how close a finite output of one case is to float32; more is closer."""

    @abstractmethod
    def describe_worst(self, worst: float) -> float:
        """Return the smallest measured value as the manifest has it."""

    @property
    @abstractmethod
    def miss(self) -> str:
        """What a network that fails does, for messages."""


class FillGuard(Guard):
    """The PSNR in dB inside the hole."""

    task = INPAINTING
    detail = "pytorch_min_psnr_hole_db"

    def __init__(self, min_psnr_db: float = HALF_MIN_PSNR_DB) -> None:
        self.limit = min_psnr_db

    def wrap(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        return HalfPrecision(network, dtype)

    def measure(self, output: Image, expected: Image, inputs: Sequence[Image]) -> float:
        return measure_psnr_hole_db(output, expected, inputs[1])

    def describe_worst(self, worst: float) -> float:
        return round(worst, 2)

    @property
    def miss(self) -> str:
        return f"the PSNR inside the hole is still below {self.limit:g} dB"


class LogitsGuard(Guard):
    """The negated error of the logits relative to their range, where no best class changes."""

    detail = "pytorch_max_relative_error"

    def __init__(self, task: Task, budget: LogitsBudget = HALF_LOGITS) -> None:
        self.task = task
        self.limit = -budget.max_relative_error
        self._budget = budget

    def wrap(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        return HalfLogits(network)

    def measure(self, output: Image, expected: Image, inputs: Sequence[Image]) -> float:
        compared = self._budget.compare("", inputs, output, expected)
        is_usable = compared.max_relative_error is not None and not compared.num_changed
        return -compared.max_relative_error if is_usable else -math.inf  # type: ignore[operator]

    def describe_worst(self, worst: float) -> float:
        return float(f"{-worst:.2e}")

    @property
    def miss(self) -> str:
        return f"the error is still above {-self.limit:g} of the logits' range, or a best class changes"


class ImageGuard(Guard):
    """The PSNR in dB of a larger image."""

    task = SUPER_RESOLUTION
    detail = "pytorch_min_psnr_db"
    limit = HALF_MIN_PSNR_DB

    def wrap(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        return HalfLogits(network)

    def measure(self, output: Image, expected: Image, inputs: Sequence[Image]) -> float:
        return measure_psnr_db(output, expected)

    def describe_worst(self, worst: float) -> float:
        return round(min(worst, 200.0), 2)

    @property
    def miss(self) -> str:
        return f"the PSNR is still below {self.limit:g} dB"


def make_guard(task: Task) -> Guard:
    """Return the guard of a task's bundles."""
    if task is SUPER_RESOLUTION:
        return ImageGuard()
    return LogitsGuard(task) if task.has_classes else FillGuard()


@dataclass(frozen=True, kw_only=True)
class HalfResult:
    """A half network with the guard's findings.

    Attributes:
        network: The network, with float32 inputs and outputs.
        kept_float32: Names of the layers that stay in float32.
        worst: Smallest value that the guard measured over the cases.
    """

    network: nn.Module
    kept_float32: list[str]
    worst: float

    @property
    def min_psnr_hole_db(self) -> float:
        """Smallest PSNR inside the hole against float32 over the cases, for inpainting."""
        return self.worst


def _list_layers(network: nn.Module) -> list[str]:
    """Return the names of the layers that have a precision: those with weights, and Fourier transforms."""
    return [
        name
        for name, layer in network.named_modules()
        if list(layer.parameters(recurse=False)) or isinstance(layer, _TRANSFORMS)
    ]


def _halve_layers(
    network: nn.Module, kept: Sequence[str], dtype: torch.dtype, guard: Guard, *, emulated: bool
) -> nn.Module:
    """Return a copy in half precision, with the layers named in ``kept`` in float32."""
    network = copy.deepcopy(network)
    for name in _list_layers(network):
        parent, _, child = name.rpartition(".")
        layer = network.get_submodule(name)
        typed = TypedLayer(layer, torch.float32 if name in kept else dtype, emulated=emulated)
        setattr(network.get_submodule(parent), child, typed)
    return guard.wrap(network, dtype)


def _run(graph: nn.Module, inputs: Sequence[Image]) -> Image:
    with torch.inference_mode():
        output: Image = graph(*map(torch.from_numpy, inputs)).numpy()
    return output


def _find_worst(half: nn.Module, cases: Sequence[AnyCase], expected: Sequence[Image], guard: Guard) -> float:
    """Return the smallest value that the guard measures, or minus infinity if an output is not finite.

    The measurement stops at the first case below the guard's limit.
    """
    worst, graph = math.inf, make_graph(half, guard.task)
    for (_, *inputs), reference in zip(cases, expected, strict=True):
        output = _run(graph, inputs)
        if not np.isfinite(output).all():
            return -math.inf
        worst = min(worst, guard.measure(output, reference, inputs))
        if worst < guard.limit:
            break
    return worst


def to_half(
    network: nn.Module,
    cases: Sequence[AnyCase],
    *,
    min_psnr_db: float = HALF_MIN_PSNR_DB,
    guard: Guard | None = None,
    dtype: torch.dtype = torch.float16,
) -> HalfResult:
    """Convert a float32 network, and keep as few layers in float32 as the budget allows.

    Args:
        network: (image, mask) -> filled image, or image -> logits; in evaluation mode.
        cases: Inputs to measure with.
        min_psnr_db: Smallest PSNR inside the hole against float32, in dB; for inpainting.
        guard: What the network must reach; None takes a :class:`FillGuard` with ``min_psnr_db``.
        dtype: ``torch.float16`` or ``torch.bfloat16``.

    Raises:
        VerificationError: The budget is missed even with every layer in float32, because a sum between layers
            overflows.
    """
    guard = guard or FillGuard(min_psnr_db)
    network = fold_batch_norms(network)  # before rounding: otherwise weights are rounded twice
    graph = make_graph(network, guard.task)
    expected = [_run(graph, inputs) for _, *inputs in cases]
    measured: dict[frozenset[str], float] = {}

    def measure(kept: Sequence[str]) -> float:
        key = frozenset(kept)
        if key not in measured:
            half = _halve_layers(network, kept, dtype, guard, emulated=True)
            measured[key] = _find_worst(half, cases, expected, guard)
        return measured[key]

    layers = _list_layers(network)
    needed: list[str] = []
    if measure([]) < guard.limit:
        if measure(layers) < guard.limit:
            raise VerificationError(
                f"the network cannot be converted to {str(dtype).removeprefix('torch.')}: with every layer in float32 "
                f"{guard.miss}. Export it without {FLAGS[dtype]}."
            )
        needed = find_minimal(layers, lambda kept: measure(kept) >= guard.limit)
    return HalfResult(
        network=_halve_layers(network, needed, dtype, guard, emulated=False).eval(),
        kept_float32=needed,
        worst=measure(needed),
    )
