"""The cells of a benchmark, one for each model, execution, size and batch, and the results measured for them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wavepaint.bench.classical import OPENCV, Classical
from wavepaint.bench.entrants import Entrant, Subject
from wavepaint.contract import INPAINTING, Task, assets_folder
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.registry import list_fastest
from wavepaint.runtime.engines.session import make_batch
from wavepaint.runtime.sizes import Size, SizeRange

PYTORCH = "pytorch"
TorchEngine = Literal["pytorch", "pytorch-graph", "torch-compile"]
TORCH_ENGINES: tuple[TorchEngine, ...] = get_args(TorchEngine)
TF32 = "tf32"
ON_CPU = ("ort-cpu", "openvino", PYTORCH)

Tensor = NDArray[Any]

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


_SHIFT = 37
"""Pixels by which each image of a batch is shifted, so that no two are equal."""


def _make_photos(batch: int, height: int, width: int) -> NDArray[np.float32]:
    """Return images (N, 3, H, W) of a photo that ships with the package, continued by its mirror images.

    Noise would be easier: in photos, values may be so small that processors become slow.
    """
    with Image.open(assets_folder() / "verification" / "coffee.jpg") as photo:
        pixels = np.asarray(photo.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
    missing = ((0, max(side - have, 0)) for side, have in zip((height, width), pixels.shape[1:], strict=True))
    image = np.pad(pixels, ((0, 0), *missing), mode="symmetric")[:, :height, :width]
    return np.stack([np.roll(image, _SHIFT * index, axis=2) for index in range(batch)])


@dataclass(frozen=True)
class TorchConfig:
    """How to run a network in PyTorch, on the GPU if PyTorch sees one.

    Attributes:
        engine: "pytorch" runs eagerly, "pytorch-graph" replays a CUDA graph, "torch-compile" uses torch.compile.
        arithmetic: "float32" is exact, "tf32" is PyTorch's default (convolutions on a GPU round to TensorFloat-32), and
            "float16" runs the fused network in half precision, channels last.
    """

    engine: TorchEngine
    arithmetic: Literal["float32", "tf32", "float16"]


EAGER = TorchConfig("pytorch", "float32")
TORCH_ON_GPU = (
    EAGER,
    TorchConfig("pytorch", "tf32"),
    *(TorchConfig(engine, "float16") for engine in TORCH_ENGINES),
)


@dataclass(frozen=True)
class Cell:
    """One model or OpenCV method (``execution`` is None) at one size and batch."""

    subject: Entrant
    execution: ExecutionConfig | TorchConfig | None
    height: int
    width: int
    batch: int

    @property
    def engine(self) -> str:
        """The engine's name on the command line."""
        return self.execution.engine if self.execution else OPENCV

    @property
    def precision(self) -> str:
        """Arithmetic precision."""
        return self.execution.arithmetic if self.execution else "uint8"

    @property
    def has_quality(self) -> bool:
        """Whether to measure its quality: only for OpenCV and for trained weights in an engine."""
        return isinstance(self.subject, Classical) or (
            self.subject.is_trained
            and isinstance(self.execution, ExecutionConfig)
            and self.task is INPAINTING
            and self.height == self.width  # photos are square
        )

    @property
    def task(self) -> Task:
        """What goes in and comes out."""
        return INPAINTING if isinstance(self.subject, Classical) else self.subject.bundle.task

    def make_inputs(self) -> tuple[Tensor, ...]:
        """Return the batch to time: photos, with a box hole if the task has one; for OpenCV bytes, channels last."""
        _, mask = make_batch(self.batch, self.height, self.width)
        inputs = (_make_photos(self.batch, self.height, self.width), mask)[: len(self.task.inputs)]
        if isinstance(self.subject, Classical):
            return tuple(np.round(tensor.transpose(0, 2, 3, 1) * 255).astype(np.uint8) for tensor in inputs)
        return inputs

    def count_gmac(self) -> float:
        """Return the billions of multiply-accumulates for one image; 0 for OpenCV."""
        if isinstance(self.subject, Classical):
            return 0.0
        return self.subject.bundle.manifest.macs_per_pixel * self.height * self.width / 1e9

    def count_least_bytes(self) -> float | None:
        """Return a lower bound of the bytes that one call moves; None except for ONNX Runtime and OpenVINO on a CPU.

        The bound counts every weight once, and every tensor that is alive at the peak of memory use once, both in the
        arithmetic precision.
        """
        if isinstance(self.subject, Classical) or not isinstance(self.execution, ExecutionConfig):
            return None
        if self.engine not in ON_CPU:
            return None
        manifest = self.subject.bundle.manifest
        activations = manifest.activation_bytes_per_pixel * self.height * self.width * self.batch / _BYTES["float32"]
        return (activations + manifest.num_parameters) * _BYTES[self.precision]

    def describe(self) -> dict[str, Any]:
        """Return the fields of a :class:`Result` that are known before a measurement."""
        subject = self.subject
        own: dict[str, Any] = {"weights": "none", "num_parameters": 0, "file_bytes": 0}
        if isinstance(subject, Subject):
            file_bytes = 0
            if isinstance(self.execution, ExecutionConfig):
                file_bytes = subject.bundle.locate(self.execution.artifact).stat().st_size
            own = {
                "weights": "trained" if subject.is_trained else "random",
                "num_parameters": subject.bundle.manifest.num_parameters,
                "file_bytes": file_bytes,
            }
        place = {"engine": self.engine, "precision": self.precision, "height": self.height, "width": self.width}
        return {"model": subject.name, **own, **place, "batch": self.batch, "gmac": self.count_gmac()}


@dataclass(frozen=True, kw_only=True)
class Result:
    """The measurements of one cell.

    Attributes:
        model: The subject's name.
        weights: "trained", "random", or "none" for methods without weights.
        engine: Name on the command line.
        label: Engine, version and device; empty if the cell did not open.
        precision: Arithmetic precision.
        height: In pixels.
        width: In pixels.
        batch: Images per call.
        num_parameters: The model's number of weights.
        gmac: Billions of multiply-accumulates for one image of this size.
        file_bytes: Size of the exported model; 0 in PyTorch.
        problem: Why the cell was not timed; empty if it was.
        psnr_db: PSNR inside the hole against the model's float32 reference; None for the reference itself.
        hole_psnr_db: Mean PSNR inside the hole against the photos; None without photos or trained weights.
        hole_ssim: Mean SSIM inside the hole, likewise.
        num_calls: Number of timed calls. Without any, the latencies and rates are None.
        p50_ms: Median latency of a call, including copies to the device and back; ``p90_ms`` and ``p99_ms`` likewise.
        images_per_s: ``batch`` over the median latency.
        variation: Standard deviation of the rounds' medians over their mean.
        compute_ms: Median time of a call without copies, in calls enqueued back to back; None if not measurable.
        peak_memory_mb: Peak resident memory of the process during the first calls, minus its memory before.
        device_memory_mb: Memory of the first GPU that opening and the first calls took; None without a GPU.
        roofline: Share of the highest measured rate of multiply-accumulates; None if not measured.
        layer_roofline: Share of the layer-by-layer roofline of a GPU; None if not measured.
        copy_share: Lower bound of the share of the memory's copy rate that is reached; see
            :meth:`Cell.count_least_bytes`.
        run: Number of the run that measured it, in a record that several runs share.
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
    compute_ms: float | None = None
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None
    roofline: float | None = None
    layer_roofline: float | None = None
    copy_share: float | None = None
    run: int = 1

    @property
    def compute_images_per_s(self) -> float | None:
        """Images per second without copies; None if not measured."""
        return self.batch / self.compute_ms * 1e3 if self.compute_ms else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def list_cells(
    subjects: Sequence[Entrant],
    sizes: Sequence[int],
    batches: Sequence[int],
    *,
    engines: Sequence[str],
    precisions: Sequence[str] = (),
    torch_configs: Sequence[TorchConfig] | None = None,
) -> list[Cell]:
    """Return the cells. Cells of one size, batch, engine and precision are next to each other.

    A model has no cell at a size that is too large for it, or in a batch that it does not take.

    Args:
        subjects: Models, and methods of OpenCV, which ignore ``engines`` and ``precisions``.
        sizes: Sides in pixels, rounded up to each model's size multiple and smallest side.
        batches: Images per call.
        engines: Names of engines, some of :data:`TORCH_ENGINES` among them.
        precisions: Arithmetic precisions; empty for all.
        torch_configs: How to run PyTorch; None takes :data:`TORCH_ON_GPU` on a machine with a GPU, else eager float32.
    """
    if torch_configs is None:
        torch_configs = TORCH_ON_GPU if find_gpus() else (EAGER,)
    found = (
        (index, find_size(subject, side, batch))
        for side in sizes
        for batch in batches
        for index, subject in enumerate(subjects)
    )
    cells = [
        cell
        for index, size in dict.fromkeys(found)  # several sides may be rounded up to one
        if size is not None
        for cell in _list_cells(subjects[index], size, torch_configs)
        if cell.engine == OPENCV or (cell.engine in engines and (not precisions or cell.precision in precisions))
    ]
    order = [*dict.fromkeys((cell.height, cell.batch, cell.engine, cell.precision) for cell in cells)]
    return sorted(cells, key=lambda cell: order.index((cell.height, cell.batch, cell.engine, cell.precision)))


def find_size(subject: Entrant, side: int, batch: int) -> Size | None:
    """Return batch, height and width of the cells for a side; None if the subject does not take them."""
    if isinstance(subject, Classical):
        return batch, side, side
    manifest = subject.bundle.manifest
    sizes = SizeRange.from_limits(manifest.sizes)
    sides = sizes.pad(side, side, manifest.size_multiple)
    return (batch, *sides) if sides is not None and sizes.contains((batch, *sides)) else None


def _list_cells(subject: Entrant, size: Size, torch_configs: Sequence[TorchConfig]) -> list[Cell]:
    batch, height, width = size
    if isinstance(subject, Classical):
        return [Cell(subject, None, height, width, batch)]
    if subject.bundle.manifest.is_imported:
        torch_configs = ()
    elif subject.bundle.task.has_classes:  # PyTorch's half precision is for inpainting networks
        torch_configs = [config for config in torch_configs if config.arithmetic != "float16"]
    executions: list[ExecutionConfig | TorchConfig] = [*list_fastest(subject.bundle), *torch_configs]
    return [Cell(subject, execution, height, width, batch) for execution in executions]
