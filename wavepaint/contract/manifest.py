"""The fields of ``manifest.json``, with the types and bounds that a file is checked against."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from wavepaint.contract.preprocessing import MAX_SIDE, Preprocessing
from wavepaint.contract.tasks import TASKS, TaskName
from wavepaint.contract.tensors import TENSORS, IoDtype

FORMAT = "wavepaint-bundle"
FORMAT_VERSION = 3

MAX_FILE_BYTES = 2 << 30
"""Largest file of a bundle, in bytes. An ONNX file cannot be larger either."""

MAX_CROP_SIZE = 16_384
"""Largest crop size of training, in pixels."""

MAX_LABELS = 10_000
MAX_LABEL_LENGTH = 200
"""Largest number of classes."""

IMPORTED = "imported"
"""Architecture of a network that ``wp import`` took from an ONNX file. Its hyper-parameters are its description."""

FILE_NAME = r"^(?!\.{1,2}\Z)[^/\\:\x00-\x1f\x7f]{1,255}\Z"
SHA256 = r"^[0-9a-f]{64}\Z"

FileName = Annotated[str, Meta(pattern=FILE_NAME)]
Sha256 = Annotated[str, Meta(pattern=SHA256)]
Kind = Literal["onnx", "tensorrt", "tensorrt-rtx"]
Precision = Literal["float32", "float16", "bfloat16"]
PadMode = Literal["reflect", "symmetric"]

Extent = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Size = tuple[Extent, Extent, Extent]
"""Batch, height and width."""

SizeLimits = tuple[Size, Size]
"""Smallest and largest size that a network takes."""


class FileEntry(TypedDict):
    """Hash and size of a file."""

    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Source(TypedDict):
    """File name and hash of a checkpoint."""

    file: str
    sha256: str


class Report(TypedDict):
    """The comparison of an artifact, run in one engine, with its source.

    A report without an ``error`` has every key except ``device``, ``weights`` and ``sha256``, which earlier bundles
    lack, and the measures of other tasks.

    Attributes:
        passed: Every case passed.
        required: Every case had to pass, because the engine computes in the file's precision or better.
        error: Why the artifact did not run. Nothing was measured then.
        engine: Human-readable name and version.
        device: "CPU" or the GPU's name; empty if unknown.
        precision: Arithmetic precision.
        weights: Precision of the weights in the file; empty if unknown.
        sha256: Hash of the file that ran. The report applies to no other file.
        reference: Human-readable name of the source.
        budget: Largest difference allowed: ``max_error`` and ``min_psnr_db``, or ``max_relative_error``.
        cases: The cases that failed.
    """

    passed: bool
    required: bool
    error: NotRequired[str]
    engine: NotRequired[str]
    device: NotRequired[str]
    precision: NotRequired[str]
    weights: NotRequired[str]
    sha256: NotRequired[str]
    reference: NotRequired[str]
    budget: NotRequired[dict[str, float | None]]
    max_error: NotRequired[float | None]
    mean_error: NotRequired[float | None]
    min_psnr_hole_db: NotRequired[float | None]
    min_ssim_hole: NotRequired[float | None]
    num_cases: NotRequired[int]
    num_not_finite: NotRequired[int]
    known_identical: NotRequired[bool]
    max_relative_error: NotRequired[float | None]
    class_agreement: NotRequired[float | None]
    min_psnr_db: NotRequired[float | None]
    cases: NotRequired[list[dict[str, Any]]]


_TASK_KEYS = frozenset().union(*(task.measures for task in TASKS.values()))
_COMMON_KEYS = Report.__optional_keys__ - {"error", "device", "weights", "sha256"} - _TASK_KEYS

MEASURED_KEYS = {name: _COMMON_KEYS | task.measures for name, task in TASKS.items()}
"""Keys that a report without an error must have, by task."""


class OnnxDetails(TypedDict, total=False):
    """Further fields of an ONNX file."""

    opset: int
    fused: bool
    upsampling: str
    kept_float32: list[str]
    pytorch_min_psnr_hole_db: float
    pytorch_max_relative_error: float
    pytorch_min_psnr_db: float
    rounded: bool
    float_edges: FileName


class ProfileShapes(TypedDict):
    """Smallest, best and largest (batch, height, width) of a plan's profile."""

    min: tuple[int, int, int]
    opt: tuple[int, int, int]
    max: tuple[int, int, int]


class PlanDetails(TypedDict):
    """Further fields of a plan: the library that built it, the GPUs it is for, and the ONNX file it was built from."""

    library_version: str
    compute_capabilities: list[str]
    profiles: list[ProfileShapes]
    onnx: FileName
    onnx_sha256: str
    workspace_mb: NotRequired[int | None]
    optimization_level: NotRequired[int | None]
    float_edges: NotRequired[FileName]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One runnable form of the model.

    Attributes:
        path: File name inside the bundle.
        kind: "onnx", or the engine that a plan is for.
        precision: Arithmetic precision.
        io_dtype: Dtype and layout of inputs and outputs; see :mod:`wavepaint.contract.tensors`. Files call it
            ``edges``.
        details: Fields of this kind only; see :class:`OnnxDetails` and :class:`PlanDetails`. ``float_edges`` names the
            float32 file that a uint8 file was made from; ``rounded`` says that the network rounds to 8-bit levels.
    """

    path: FileName
    kind: Kind
    precision: Precision
    io_dtype: IoDtype = "float32"
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a bundle.

    Attributes:
        name: Short human-readable name.
        task: What the network is for.
        architecture: Name in the registry.
        hyper_parameters: Arguments of the architecture.
        num_parameters: Trainable weights.
        size_multiple: Height and width must be multiples of this.
        macs_per_pixel: Multiply-accumulates of the float32 model on 256x256 pixels, or the nearest size that it takes,
            with a hole of a ninth of them, divided by the number of pixels.
        activation_bytes_per_pixel: Peak size of the live tensors of a float32 run, whatever the hole, divided by the
            pixels in the batch. Engines need a multiple of it.
        artifacts: Runnable forms, the preferred one first.
        files: Hash and size of every file except the manifest.
        source: File name and hash of the checkpoint.
        versions: Versions of the software that made the bundle.
        verification: For each artifact's path, one report for each engine that ran it; no report if no engine could.
        padding: numpy's mode for padding images to the size multiple. Earlier bundles, which lack the field, were made
            with "reflect".
        crop_size: Side of the square training crops, in pixels; None if unknown.
        training: Record of the training run; empty if the checkpoint had none.
        contract: The tensors of each I/O dtype, as in :mod:`wavepaint.contract.tensors`.
        labels: The names of the classes, in the order of the output's channels; None for inpainting.
        preprocessing: How images become inputs; None for inpainting.
        sizes: Smallest and largest size (batch, height, width) that the network takes; None if it takes any.
    """

    name: str
    task: TaskName
    architecture: str
    hyper_parameters: dict[str, Any]
    num_parameters: Annotated[int, Meta(ge=0, le=10**12)]
    size_multiple: Annotated[int, Meta(ge=1, le=4096)]
    macs_per_pixel: Annotated[float, Meta(gt=0, le=1e12)]
    activation_bytes_per_pixel: Annotated[float, Meta(gt=0, le=1e9)]
    artifacts: list[Artifact]
    files: dict[FileName, FileEntry]
    source: Source
    versions: dict[str, str]
    verification: dict[str, list[Report]]
    padding: PadMode = "reflect"
    crop_size: Annotated[int, Meta(ge=1, le=MAX_CROP_SIZE)] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    contract: dict[str, Any] = field(default_factory=lambda: dict(TENSORS.items()))
    labels: Annotated[list[str], Meta(min_length=1, max_length=MAX_LABELS)] | None = None
    preprocessing: Preprocessing | None = None
    sizes: SizeLimits | None = None

    @property
    def is_imported(self) -> bool:
        """Whether the network came from an ONNX file of another project, so that PyTorch cannot build it."""
        return self.architecture == IMPORTED

    @property
    def has_largest_size(self) -> bool:
        """Whether the network takes no image above a size, such as one that is fixed at a size."""
        return self.sizes is not None and min(self.sizes[1][1:]) < MAX_SIDE // 2

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        if not TASKS[self.task].has_classes:
            del content["labels"], content["preprocessing"]
        if self.sizes is None:
            del content["sizes"]
        content["artifacts"] = [rename_key(entry, "io_dtype", "edges") for entry in content["artifacts"]]
        return json.dumps(content, indent=2) + "\n"


def rename_key(entry: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return an artifact's entry with one key renamed. Code says ``io_dtype`` where files say ``edges``."""
    return {new if key == old else key: value for key, value in entry.items()}


def find_crop_size(training: Any) -> int | None:
    """Return the crop size, in pixels, in a training record; None if the record has none, or an invalid one."""
    config = training.get("config") if isinstance(training, Mapping) else None
    data = config.get("data", config) if isinstance(config, Mapping) else None  # the first configs had no sections
    size = data.get("crop_size") if isinstance(data, Mapping) else None
    return size if type(size) is int and 1 <= size <= MAX_CROP_SIZE else None
