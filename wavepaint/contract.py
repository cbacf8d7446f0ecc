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

This module needs the standard library alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from wavepaint.errors import BundleError

INPUT_IMAGE = "image"
INPUT_MASK = "mask"
OUTPUT_IMAGE = "image_out"
IMAGE_CHANNELS = 3

MASK_THRESHOLD = 128
"""From this level of 255 on a pixel of a uint8 mask is in the hole."""

MANIFEST_NAME = "manifest.json"
FORMAT = "wavepaint-bundle"
FORMAT_VERSION = 3

Edges = Literal["float32", "uint8"]

TENSORS: dict[Edges, Any] = {
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


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One runnable form of the model.

    Attributes:
        path: File name inside the bundle.
        kind: "onnx", or the engine a plan is for: "tensorrt" or "tensorrt-rtx".
        precision: Arithmetic inside: "float32", "float16" or "bfloat16".
        edges: Kind of inputs and outputs; see the module's text.
        details: What only this kind has: the opset, or an engine's version, compute capabilities and profiles.
    """

    path: str
    kind: str
    precision: str
    edges: Edges = "float32"
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
        training: Record of the training run; empty if the checkpoint had none.
        contract: The tensors of each kind of edges, as in this module's text.
    """

    name: str
    task: str
    architecture: str
    hyper_parameters: dict[str, Any]
    num_parameters: int
    size_multiple: int
    macs_per_pixel: float
    activation_bytes_per_pixel: float
    artifacts: list[Artifact]
    files: dict[str, dict[str, Any]]
    source: dict[str, Any]
    versions: dict[str, str]
    verification: dict[str, list[dict[str, Any]]]
    training: dict[str, Any] = field(default_factory=dict)
    contract: dict[str, Any] = field(default_factory=lambda: dict(TENSORS.items()))

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk."""

    folder: Path
    manifest: Manifest

    def path_of(self, artifact: Artifact) -> Path:
        """Return the artifact's file."""
        return self.folder / artifact.path

    def find_artifact(self, kind: str, precision: str | None = None, edges: Edges = "float32") -> Artifact:
        """Return the first artifact of a kind, edges (and precision).

        Raises:
            BundleError: The bundle has none.
        """
        for artifact in self.manifest.artifacts:
            if artifact.kind == kind and artifact.edges == edges and precision in (None, artifact.precision):
                return artifact
        held = ", ".join(f"{a.kind} {a.precision} ({a.edges} edges)" for a in self.manifest.artifacts) or "nothing"
        wanted = " ".join(part for part in (kind, precision) if part)
        raise BundleError(
            f"{self.folder} has no {wanted} model with {edges} edges; it has {held}. Export it again with wp export."
        )


def hash_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return sha256 and size of every file in a bundle's folder, the manifest left out."""
    return {
        path.name: {"sha256": hash_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST_NAME
    }


def _parse_manifest(content: Any, path: Path) -> Manifest:
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise BundleError(f"{path} is not the manifest of a WavePaint bundle. Make one with wp export.")
    if content.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format version {content.get('format_version')}, this program reads {FORMAT_VERSION}. "
            "Export the checkpoint again, or update the older of the two."
        )
    fields = {key: value for key, value in content.items() if key not in ("format", "format_version")}
    try:
        fields["artifacts"] = [Artifact(**artifact) for artifact in fields["artifacts"]]
        manifest = Manifest(**fields)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error}). Export the checkpoint again.") from error
    multiple, activations = manifest.size_multiple, manifest.activation_bytes_per_pixel
    named = [artifact.path for artifact in manifest.artifacts]
    named += [
        str(artifact.details["float_edges"]) for artifact in manifest.artifacts if "float_edges" in artifact.details
    ]
    sizes_are_known = isinstance(multiple, int) and multiple >= 1 and isinstance(activations, int | float)
    if not sizes_are_known or activations <= 0 or not isinstance(manifest.files, Mapping):
        raise BundleError(f"{path} is damaged (size multiple, activations or file list). Export the checkpoint again.")
    for name in [*manifest.files, *named]:
        if Path(name).name != name or name not in manifest.files:
            raise BundleError(f"{path} names {name!r}, which is not a listed file of the bundle's own folder.")
    return manifest


def read_bundle(folder: Path, *, check_hashes: bool = True) -> Bundle:
    """Read a bundle and check that every file is there and unaltered.

    Args:
        folder: The bundle's folder.
        check_hashes: Also compare the sha256 of every file (some milliseconds for a small model).

    Raises:
        BundleError: Missing, incomplete, altered, or of another format version.
    """
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise BundleError(f"{folder} {what}. Expected a bundle's folder, as wp export makes it.")
    try:
        manifest = _parse_manifest(json.loads(path.read_text("utf-8")), path)
        for name, expected in manifest.files.items():
            file = folder / name
            if not file.is_file():
                raise BundleError(f"{folder} lacks {name}. Copy the bundle again as a whole, or export it again.")
            size = file.stat().st_size
            if size != expected["bytes"] or (check_hashes and hash_file(file) != expected["sha256"]):
                raise BundleError(
                    f"{file} was altered or is damaged: its size or sha256 is not the manifest's. "
                    "Copy the bundle again as a whole, or export it again."
                )
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {MANIFEST_NAME}, so it is not a bundle. Make one with wp export."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error}). Export the checkpoint again.") from error
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return Bundle(folder, manifest)


def assets_folder() -> Path:
    """Return the folder of the files that ship with the package."""
    return Path(__file__).parent / "assets"


def default_bundle_folder() -> Path:
    """Return the folder of the model that ships with the package."""
    return assets_folder() / "default"
