"""The contract between who exports a model and who runs it: tensors, and the manifest of a bundle.

A bundle is a folder: ``manifest.json`` and the files it names. A model has one of two kinds of edges.

Edges ``float32``, with H and W multiples of the manifest's ``size_multiple``:

==============  ====================  =======  ======================================================
name            shape                 dtype    meaning
==============  ====================  =======  ======================================================
``image``       (N, 3, H, W)          float32  RGB in [0, 1]; what lies in the hole is ignored
``mask``        (N, 1, H, W)          float32  1 = hole (to be filled), 0 = known; nothing between
``image_out``   (N, 3, H, W)          float32  RGB in [0, 1]; equal to ``image`` where ``mask`` is 0
==============  ====================  =======  ======================================================

Edges ``uint8``, of any height and width (the model pads and crops):

==============  ====================  =======  ======================================================
``image``       (N, H, W, 3)          uint8    RGB
``mask``        (N, H, W, 1)          uint8    128 to 255 = hole, 0 to 127 = known
``image_out``   (N, H, W, 3)          uint8    RGB; equal to ``image`` outside the hole
==============  ====================  =======  ======================================================

This module needs the standard library and msgspec, which checks the manifest's fields against their types.
"""

import hashlib
import json
import stat
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from wavepaint.errors import BundleError, WavePaintWarning
from wavepaint.model_file import has_external_data

INPUT_IMAGE = "image"
INPUT_MASK = "mask"
OUTPUT_IMAGE = "image_out"
IMAGE_CHANNELS = 3

MASK_THRESHOLD = 128
"""From this level of 255 on a pixel of a uint8 mask is in the hole."""

MANIFEST_NAME = "manifest.json"
FORMAT = "wavepaint-bundle"
FORMAT_VERSION = 3

MAX_MANIFEST_BYTES = 1 << 20
"""Largest manifest that is read; the one that ships has 14 kB."""

MAX_CROP_SIZE = 16_384
"""Largest crop size of training, in pixels."""

MAX_LEVELS = 64
"""Deepest nesting of a manifest."""

MAX_FILE_BYTES, MAX_BUNDLE_BYTES = 2 << 30, 8 << 30
"""Largest file of a bundle, which is also what an ONNX file can hold, and largest sum of all."""

IoDtype = Literal["float32", "uint8"]
Kind = Literal["onnx", "tensorrt", "tensorrt-rtx"]
Precision = Literal["float32", "float16", "bfloat16"]
PadMode = Literal["reflect", "symmetric"]

_FILE_NAME = r"^(?!\.{1,2}\Z)[^/\\:\x00-\x1f\x7f]{1,255}\Z"
_SHA256 = r"^[0-9a-f]{64}\Z"
_MEANINGS = {_FILE_NAME: "a file name without any folder", _SHA256: "64 hexadecimal digits"}

FileName = Annotated[str, Meta(pattern=_FILE_NAME)]
Sha256 = Annotated[str, Meta(pattern=_SHA256)]

TENSORS: dict[IoDtype, Any] = {
    "float32": {
        "inputs": [
            {"name": INPUT_IMAGE, "shape": ["N", 3, "H", "W"], "dtype": "float32", "range": [0, 1], "colour": "RGB"},
            {"name": INPUT_MASK, "shape": ["N", 1, "H", "W"], "dtype": "float32", "known": [0], "hole": [1]},
        ],
        "outputs": [
            {"name": OUTPUT_IMAGE, "shape": ["N", 3, "H", "W"], "dtype": "float32", "range": [0, 1], "colour": "RGB"},
        ],
    },
    "uint8": {
        "inputs": [
            {"name": INPUT_IMAGE, "shape": ["N", "H", "W", 3], "dtype": "uint8", "range": [0, 255], "colour": "RGB"},
            {
                "name": INPUT_MASK,
                "shape": ["N", "H", "W", 1],
                "dtype": "uint8",
                "known": [0, MASK_THRESHOLD - 1],
                "hole": [MASK_THRESHOLD, 255],
            },
        ],
        "outputs": [
            {"name": OUTPUT_IMAGE, "shape": ["N", "H", "W", 3], "dtype": "uint8", "range": [0, 255], "colour": "RGB"},
        ],
    },
}


class FileEntry(TypedDict):
    """What a manifest says of a file."""

    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Source(TypedDict):
    """File name and sha256 of a checkpoint."""

    file: str
    sha256: str


class Report(TypedDict):
    """What came of running an artifact in an engine and comparing it with its source.

    Without an ``error`` every key is there, but ``device``, ``weights`` and ``sha256``, which earlier bundles lack.

    Attributes:
        passed: Whether every case did.
        required: Whether every case had to: the engine computes in the file's precision or better.
        error: Why it did not run; nothing was measured then.
        engine: Name and version, for people.
        device: "CPU", or the GPU's name; empty where it is not known.
        precision: Of the arithmetic.
        weights: Precision of the file; empty where it is not known.
        sha256: Of the file that was run. The report says nothing of another.
        reference: What it was compared with, for people.
        budget: What it may differ by: ``max_error`` and ``min_psnr_db``.
        cases: Those that failed.
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
    cases: NotRequired[list[dict[str, Any]]]


_LACKED_BY_REPORTS = {"error", "device", "weights", "sha256"}
"""Keys that reports of models that ran may lack."""


class OnnxDetails(TypedDict, total=False):
    """What an ONNX file's entry says besides."""

    opset: int
    fused: bool
    upsampling: str
    kept_float32: list[str]
    pytorch_min_psnr_hole_db: float
    float_edges: FileName


class ProfileShapes(TypedDict):
    """Smallest, best and largest (batch, height, width) of a plan's profile."""

    min: tuple[int, int, int]
    opt: tuple[int, int, int]
    max: tuple[int, int, int]


class PlanDetails(TypedDict):
    """What a plan's entry says besides: what it was built by, for and from."""

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
        kind: "onnx", or the engine a plan is for.
        precision: Arithmetic inside.
        io_dtype: Kind of inputs and outputs; see the module's text.
        details: What only this kind has; see :class:`OnnxDetails` and :class:`PlanDetails`.
    """

    path: FileName
    kind: Kind
    precision: Precision
    io_dtype: IoDtype = "float32"
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: Short name, for people.
        task: "inpainting".
        architecture: Name in the registry.
        hyper_parameters: Arguments of the architecture.
        num_parameters: Trainable weights.
        size_multiple: Height and width must be multiples of this.
        macs_per_pixel: Multiply-accumulates of the float32 model for 256x256 pixels, divided by their number.
        activation_bytes_per_pixel: Most memory that the live tensors of a run take, in float32, for each pixel of the
            batch. Engines need a multiple of it.
        artifacts: Runnable forms, the preferred one first.
        files: For every file of the bundle but the manifest its ``sha256`` and size in ``bytes``.
        source: File name and sha256 of the checkpoint.
        versions: Of the software that made the bundle.
        verification: For every artifact's path the reports of its comparisons with the source, one for each engine
            that ran it; none where no engine at hand could.
        padding: numpy's mode by which images are padded to the size multiple. Earlier bundles, which do not say it,
            were made with "reflect".
        crop_size: Side of the square training crops in pixels; None if it is not known.
        training: Record of the training run; empty if the checkpoint had none.
        contract: The tensors of each kind of edges, as in this module's text.
    """

    name: str
    task: str
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

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        content["artifacts"] = [_rename(entry, "io_dtype", "edges") for entry in content["artifacts"]]
        return json.dumps(content, indent=2) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk."""

    folder: Path
    manifest: Manifest

    def locate(self, artifact: Artifact) -> Path:
        """Return the artifact's file."""
        return self.folder / artifact.path

    def find_artifact(self, kind: str, precision: str | None = None, io_dtype: IoDtype = "float32") -> Artifact:
        """Return the first artifact of a kind, edges (and precision).

        Raises:
            BundleError: The bundle has none.
        """
        for artifact in self.manifest.artifacts:
            if artifact.kind == kind and artifact.io_dtype == io_dtype and precision in (None, artifact.precision):
                return artifact
        held = ", ".join(f"{a.kind} {a.precision} ({a.io_dtype} edges)" for a in self.manifest.artifacts) or "nothing"
        wanted = " ".join(part for part in (kind, precision) if part)
        raise BundleError(
            f"{self.folder} has no {wanted} model with {io_dtype} edges; it has {held}. Export it again with wp export."
        )


def _rename(entry: Any, old: str, new: str) -> Any:
    """Return an artifact's entry with a key renamed: files say ``edges`` for io_dtype."""
    if not isinstance(entry, Mapping):
        return entry
    return {new if key == old else key: value for key, value in entry.items()}


def find_crop_size(training: Any) -> int | None:
    """Return the crop size that a training record names, or None if it names none that makes sense."""
    config = training.get("config") if isinstance(training, Mapping) else None
    data = config.get("data", config) if isinstance(config, Mapping) else None  # the first configs had no sections
    size = data.get("crop_size") if isinstance(data, Mapping) else None
    return size if type(size) is int and 1 <= size <= MAX_CROP_SIZE else None


def hash_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def describe_files(folder: Path) -> dict[str, FileEntry]:
    """Return sha256 and size of every file in a bundle's folder, the manifest left out."""
    return {
        path.name: {"sha256": hash_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST_NAME
    }


def _check_values(value: Any, where: str = "$", level: int = 0) -> None:
    """Raise ValueError for what JSON can say and no manifest needs: deep nesting, and text that is not Unicode."""
    if level > MAX_LEVELS:
        raise ValueError(f"more than {MAX_LEVELS} levels of nesting - at `{where}`")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"a lone surrogate in {value[:80]!a} - at `{where}`") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_values(key, f"key in {where}", level)
            _check_values(item, f"{where}.{key}", level + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{where}[{index}]", level + 1)


def _convert(value: Any, wanted: Any, where: str = "$") -> Any:
    """Return a value as a type, or raise ValueError that says what is wrong and at which JSON path."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        wrong, at, place = str(error).rpartition(" - at ")
        for pattern, meaning in _MEANINGS.items():
            wrong = wrong.replace(f"`str` matching regex {pattern!r}", meaning)
        place = place.replace("$", where, 1) if at else f"`{where}`"
        raise ValueError(f"{wrong[:200] or error} - at {place}") from error


def _one_line(error: Exception) -> str:
    """Return what an error says, where names and values of the file may have many lines."""
    return " ".join(str(error).split())[:500]


def _drop_damaged_plans(entries: list[Any], path: Path) -> list[Any]:
    """Return a manifest's artifacts without the plans whose entries are damaged: models run without them."""
    kept = []
    for index, entry in enumerate(entries):
        if isinstance(entry, Mapping) and entry.get("kind") != "onnx":
            try:
                plan = _convert(entry, Artifact, f"$.artifacts[{index}]")
                _convert(plan.details, PlanDetails, f"$.artifacts[{index}].details")
            except ValueError as error:
                warnings.warn(
                    f"{path} has a damaged entry, which is left out: {_one_line(error)}. Export the checkpoint again.",
                    WavePaintWarning,
                    stacklevel=5,
                )
                continue
        kept.append(entry)
    return kept


def _parse_manifest(content: Any, path: Path) -> Manifest:
    """Return a manifest from what JSON made of it; ValueError says what is damaged."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise BundleError(f"{path} is not the manifest of a WavePaint bundle. Make one with wp export.")
    if content.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format version {json.dumps(content.get('format_version'))[:20]}, this program reads "
            f"{FORMAT_VERSION}. Export the checkpoint again, or update the older of the two."
        )
    _check_values(content)
    if isinstance(content.get("artifacts"), list):
        entries = [_rename(entry, "edges", "io_dtype") for entry in content["artifacts"]]
        content = {**content, "artifacts": _drop_damaged_plans(entries, path)}
    if "crop_size" not in content:  # an older bundle
        content = {**content, "crop_size": find_crop_size(content.get("training"))}
    # Fields that are not known here, of a later program of the same format version, are left out.
    manifest: Manifest = _convert(content, Manifest)
    named = [artifact.path for artifact in manifest.artifacts]
    for index, artifact in enumerate(manifest.artifacts):
        if artifact.kind == "onnx":
            _convert(artifact.details, OnnxDetails, f"$.artifacts[{index}].details")
            if not artifact.path.endswith(".onnx"):  # by other endings engines read other formats
                raise ValueError(f"Expected a name that ends in .onnx - at `$.artifacts[{index}].path`")
        named += [artifact.details["float_edges"]] if "float_edges" in artifact.details else []
    for name in named:
        if name not in manifest.files:
            raise BundleError(f"{path} names {name!r}, which is not a listed file of the bundle's own folder.")
    for name, reports in manifest.verification.items():
        for index, report in enumerate(reports):
            absent = Report.__optional_keys__ - _LACKED_BY_REPORTS - report.keys()
            if absent and "error" not in report:
                raise ValueError(f"Object missing required field `{min(absent)}` - at `$.verification.{name}[{index}]`")
    if sum(entry["bytes"] for entry in manifest.files.values()) > MAX_BUNDLE_BYTES:
        raise ValueError(f"Expected files of {MAX_BUNDLE_BYTES >> 30} GiB at most, all together - at `$.files`")
    return manifest


def _read_manifest(path: Path) -> Manifest:
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):  # before it is opened: a pipe would be waited for
        raise BundleError(f"{path} is not a regular file. Copy the bundle again as a whole, or export it again.")
    with path.open("rb") as stream:
        data = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than {MAX_MANIFEST_BYTES >> 20} MiB. Export the checkpoint again.")
    try:
        return _parse_manifest(json.loads(data.decode()), path)
    except RecursionError:
        raise BundleError(f"{path} is damaged (its values nest too deep). Export the checkpoint again.") from None
    except ValueError as error:
        raise BundleError(f"{path} is damaged: {_one_line(error)}. Export the checkpoint again.") from error


def read_bundle(folder: Path, *, check_hashes: bool = True) -> Bundle:
    """Read a bundle and check that every file is there and unaltered.

    Args:
        folder: The bundle's folder.
        check_hashes: Also compare the sha256 of every file (some milliseconds for a small model).

    Warns:
        WavePaintWarning: The entry of a plan is damaged; the bundle is read without it.

    Raises:
        BundleError: Missing, incomplete, altered, or of another format version.
    """
    try:
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise BundleError(f"{folder} {what}. Expected a bundle's folder, as wp export makes it.")
        manifest = _read_manifest(folder / MANIFEST_NAME)
        for name, expected in manifest.files.items():
            file = folder / name
            if not file.is_file():
                raise BundleError(f"{folder} lacks {name}. Copy the bundle again as a whole, or export it again.")
            if file.stat().st_size != expected["bytes"]:
                raise _altered(file, "size")
        for name, expected in manifest.files.items() if check_hashes else ():  # not before every size is right
            if hash_file(folder / name) != expected["sha256"]:
                raise _altered(folder / name, "sha256")
        _refuse_external_data(folder, manifest)
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {MANIFEST_NAME}, so it is not a bundle. Make one with wp export."
        ) from None
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return Bundle(folder, manifest)


def _refuse_external_data(folder: Path, manifest: Manifest) -> None:
    named = {a.path if a.kind == "onnx" else a.details["onnx"] for a in manifest.artifacts}
    for file in (folder / name for name in sorted(named & manifest.files.keys())):
        try:
            external = has_external_data(file)
        except ValueError:  # engines are not given it either; the bundle's other models may serve
            continue
        if external:
            raise BundleError(
                f"{file} keeps weights in other files (external data), which bundles never do: anything on this "
                "machine could be read through it. Export the checkpoint again."
            )


def _altered(file: Path, what: str) -> BundleError:
    return BundleError(
        f"{file} was altered or is damaged: its {what} is not the manifest's. Copy the bundle again as a whole, or "
        "export it again."
    )


def assets_folder() -> Path:
    """Return the folder of the files that ship with the package."""
    return Path(__file__).parent / "assets"


def default_bundle_folder() -> Path:
    """Return the folder of the model that ships with the package."""
    return assets_folder() / "default"
