"""The cells of a race, model by engine by precision by size by batch, and what becomes of each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.bench.classical import OPENCV, Classical
from wavepaint.bench.entrants import Entrant, Subject
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.registry import list_fastest
from wavepaint.runtime.engines.session import make_batch

PYTORCH = "pytorch"
ON_CPU = ("ort-cpu", "openvino", PYTORCH)

Tensor = NDArray[Any]

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Cell:
    """One entry of the race: a model in a way (None: eager PyTorch), or a method of OpenCV, at a size."""

    subject: Entrant
    execution: ExecutionConfig | None
    height: int
    width: int
    batch: int

    @property
    def engine(self) -> str:
        """Engine's name on the command line; OpenCV's own is :data:`OPENCV`."""
        return OPENCV if isinstance(self.subject, Classical) else self.execution.engine if self.execution else PYTORCH

    @property
    def precision(self) -> str:
        """Of the arithmetic."""
        return (
            "uint8"
            if isinstance(self.subject, Classical)
            else self.execution.arithmetic
            if self.execution
            else "float32"
        )

    @property
    def has_quality(self) -> bool:
        """Whether what it fills in means anything: not with random weights, which the networks in PyTorch have too."""
        return isinstance(self.subject, Classical) or (self.subject.is_trained and self.execution is not None)

    def make_inputs(self) -> tuple[Tensor, Tensor]:
        """Return the batch that is timed: noise and a box hole, as bytes with channels last for OpenCV."""
        image, mask = make_batch(self.batch, self.height, self.width)
        if isinstance(self.subject, Classical):
            to_bytes = [np.round(tensor.transpose(0, 2, 3, 1) * 255).astype(np.uint8) for tensor in (image, mask)]
            return to_bytes[0], to_bytes[1]
        return image, mask

    def count_gmac(self) -> float:
        """Return the thousand million multiply-accumulates of one image; 0 for OpenCV."""
        if isinstance(self.subject, Classical):
            return 0.0
        return self.subject.bundle.manifest.macs_per_pixel * self.height * self.width / 1e9

    def count_least_bytes(self) -> float | None:
        """Return the fewest bytes that a call moves, by the manifest; None off the CPU's engines.

        Every weight once, and once all tensors that are alive at the moment when they take most memory, both in the
        precision of the arithmetic. Each of them is written or read at least once. What is written and read more often
        than once, and what lives at other moments, is not in it, so that this is a floor.
        """
        if isinstance(self.subject, Classical) or self.execution is None or self.engine not in ON_CPU:
            return None
        manifest = self.subject.bundle.manifest
        activations = manifest.activation_bytes_per_pixel * self.height * self.width * self.batch / _BYTES["float32"]
        return (activations + manifest.num_parameters) * _BYTES[self.precision]

    def describe(self) -> dict[str, Any]:
        """Return those fields of a :class:`Result` that are known before anything is run."""
        subject = self.subject
        own: dict[str, Any] = {"weights": "none", "num_parameters": 0, "file_bytes": 0}
        if isinstance(subject, Subject):
            own = {
                "weights": "trained" if subject.is_trained else "random",
                "num_parameters": subject.bundle.manifest.num_parameters,
                "file_bytes": subject.bundle.locate(self.execution.artifact).stat().st_size if self.execution else 0,
            }
        place = {"engine": self.engine, "precision": self.precision, "height": self.height, "width": self.width}
        return {"model": subject.name, **own, **place, "batch": self.batch, "gmac": self.count_gmac()}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a cell.

    Attributes:
        model: The subject's name.
        weights: "trained", "random", or "none" for what has no weights.
        engine: Name on the command line.
        label: Engine, version and device; empty if it did not open.
        precision: Of the arithmetic.
        height: In pixels; ``width`` likewise.
        batch: Images a call.
        num_parameters: Of the model.
        gmac: Thousand million multiply-accumulates of one image of this size.
        file_bytes: Of the exported model; 0 in PyTorch.
        problem: Why it was not timed; empty if it was.
        psnr_db: Inside the hole against the model's reference engine; None for the reference itself and in PyTorch.
        hole_psnr_db: Quality: PSNR inside the hole against the photos, mean; None without photos or trained weights.
        hole_ssim: SSIM likewise.
        num_calls: Timed calls; the following are None without any.
        p50_ms: Median latency of a call; ``p90_ms`` and ``p99_ms`` likewise.
        images_per_s: ``batch`` over the median latency.
        variation: Standard deviation of the rounds' medians over their mean.
        peak_memory_mb: Largest resident memory of the process in a call, above what it held before it opened the model.
        device_memory_mb: What the first GPU's memory was filled with by opening the model and its first calls; None
            without one.
        roofline: Share reached of what this engine and precision reach in plain convolutions; None if not measured.
        copy_share: Share reached of the rate of copying memory, by :meth:`Cell.count_least_bytes`: at least so much.
    """

    model: str
    weights: str
    engine: str
    label: str
    precision: str
    height: int
    width: int
    batch: int
    num_parameters: int
    gmac: float
    file_bytes: int
    problem: str = ""
    psnr_db: float | None = None
    hole_psnr_db: float | None = None
    hole_ssim: float | None = None
    num_calls: int = 0
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    images_per_s: float | None = None
    variation: float | None = None
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None
    roofline: float | None = None
    copy_share: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def list_cells(
    subjects: Sequence[Entrant],
    sizes: Sequence[int],
    batches: Sequence[int],
    *,
    engines: Sequence[str],
    precisions: Sequence[str] = (),
) -> list[Cell]:
    """Return the cells, those that compete side by side.

    Args:
        subjects: The models, and methods of OpenCV, which race whatever engines and precisions are asked for.
        sizes: Heights and widths; rounded up to each model's size multiple.
        batches: Images a call.
        engines: Names on the command line, and :data:`PYTORCH`.
        precisions: Of the arithmetic; empty for all.
    """
    cells = [
        cell
        for side in sizes
        for batch in batches
        for subject in subjects
        for cell in _list_cells(subject, side, batch, engines, precisions)
    ]
    order = [*dict.fromkeys((cell.height, cell.batch, cell.engine, cell.precision) for cell in cells)]
    return sorted(cells, key=lambda cell: order.index((cell.height, cell.batch, cell.engine, cell.precision)))


def _list_cells(
    subject: Entrant, side: int, batch: int, engines: Sequence[str], precisions: Sequence[str]
) -> list[Cell]:
    if isinstance(subject, Classical):
        return [Cell(subject, None, side, side, batch)]
    multiple = subject.bundle.manifest.size_multiple
    rounded = -(-side // multiple) * multiple
    executions: list[ExecutionConfig | None] = [
        execution for execution in list_fastest(subject.bundle) if execution.engine in engines
    ]
    executions += [None] if PYTORCH in engines else []
    cells = [Cell(subject, execution, rounded, rounded, batch) for execution in executions]
    return [cell for cell in cells if not precisions or cell.precision in precisions]
