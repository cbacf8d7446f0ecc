"""Read a bundle, and refuse it unless every file is present, unaltered and free of external data."""

import hashlib
import shlex
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from wavepaint.contract.manifest import Artifact, FileEntry, Manifest, PadMode, Precision, SizeLimits
from wavepaint.contract.manifest_parser import parse_manifest
from wavepaint.contract.preprocessing import PRESETS
from wavepaint.contract.tasks import INPAINTING, Task, get_task
from wavepaint.contract.tensors import IoDtype
from wavepaint.errors import BundleError, printable
from wavepaint.model_file import has_external_data

MANIFEST_NAME = "manifest.json"

MAX_MANIFEST_BYTES = 1 << 20
"""Size limit of a manifest, in bytes. The default model's manifest has 14 kB."""

_EXPORT_FLAGS: dict[Precision, str] = {"float16": "--fp16", "bfloat16": "--bf16"}
"""Options of ``wp export`` that add a precision; float32 needs none."""


@dataclass(frozen=True)
class Model:
    """One form of a model, with everything an engine must know to run it.

    Attributes:
        path: The form's file. The other forms of the bundle are in the same folder.
        artifact: The form's entry in the manifest.
        size_multiple: Height and width must be multiples of this if inputs and outputs are float32.
        padding: numpy's mode by which images are padded to the size multiple.
        task: What goes in and comes out.
        sizes: Smallest and largest size (batch, height, width); None if the network takes any. Models with uint8 inputs
            and outputs take smaller ones, too.
    """

    path: Path
    artifact: Artifact
    size_multiple: int = 1
    padding: PadMode = "reflect"
    task: Task = INPAINTING
    sizes: SizeLimits | None = None

    def get_sibling(self, artifact: Artifact) -> "Model":
        """Return another form of the same bundle."""
        return replace(self, path=self.path.with_name(artifact.path), artifact=artifact)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk."""

    folder: Path
    manifest: Manifest

    @property
    def task(self) -> Task:
        """What goes in and comes out."""
        return get_task(self.manifest.task)

    def require_task(self, task: Task) -> None:
        """Refuse a bundle of another task.

        Raises:
            BundleError: The message names the command for the bundle.
        """
        if self.task is not task:
            raise BundleError(
                f"{self.folder} is a bundle for {self.task.name}, expected one for {task.name}. Run it with "
                f"{self.task.command}."
            )

    def locate(self, artifact: Artifact) -> Path:
        """Return the path of an artifact's file."""
        return self.folder / artifact.path

    def get_model(self, artifact: Artifact) -> Model:
        """Return an artifact with everything an engine must know to run it."""
        manifest = self.manifest
        return Model(
            self.locate(artifact), artifact, manifest.size_multiple, manifest.padding, self.task, manifest.sizes
        )

    def find_artifact(self, kind: str, precision: str | None = None, io_dtype: IoDtype = "float32") -> Artifact:
        """Return the first artifact of a kind, an I/O dtype and, unless None, a precision.

        Raises:
            BundleError: The bundle has none.
        """
        artifacts = self.manifest.artifacts
        for artifact in artifacts:
            if artifact.kind == kind and artifact.io_dtype == io_dtype and precision in (None, artifact.precision):
                return artifact
        present = ", ".join(f"{a.kind} {a.precision} ({a.io_dtype} I/O)" for a in artifacts) or "no model"
        wanted = " ".join(part for part in (kind, precision) if part)
        raise BundleError(
            f"{self.folder} has no {wanted} model with {io_dtype} inputs and outputs; it has {present}. Export the "
            "checkpoint again with wp export."
        )

    def suggest_export(self, precision: Precision, io_dtype: IoDtype = "float32") -> str:
        """Return the command that exports the checkpoint with a precision and an I/O dtype added to the bundle's.

        The manifest has only the checkpoint's name. Its path is known if it lies beside the bundle's folder.
        """
        artifacts = self.manifest.artifacts
        precisions = {precision, *(artifact.precision for artifact in artifacts)}
        flags = [flag for name, flag in _EXPORT_FLAGS.items() if name in precisions]
        if "uint8" in {io_dtype, *(artifact.io_dtype for artifact in artifacts)}:
            flags += ["--io", "uint8"]
        flags += self._suggest_class_flags()
        if self.manifest.is_imported:  # the bundle has its description
            flags += ["--description", printable(self.folder)]
        name = self.manifest.source["file"]
        beside = self.folder / ".." / name
        checkpoint = beside.resolve() if beside.is_file() else name
        out = f"{self.folder.resolve().name}-{precision}"
        command = "import" if self.manifest.is_imported else "export"
        return shlex.join(["wp", command, printable(checkpoint), "-o", printable(out), *flags])

    def _suggest_class_flags(self) -> list[str]:
        """Return the options of ``wp export`` that the classes of this bundle need. Its labels' file is not known."""
        labels, chosen = self.manifest.labels, self.manifest.preprocessing
        if labels is None or chosen is None:
            return []
        values = (chosen.mean, chosen.std)
        flags = ["--preprocessing", next((n for n, one in PRESETS.items() if (one.mean, one.std) == values), "NAME")]
        if chosen.size is not None:
            flags += ["--image-size", f"{chosen.size[1]}x{chosen.size[0]}"]
        if labels != [str(number) for number in range(len(labels))]:
            flags += ["--labels", "LABELS"]
        if self.manifest.hyper_parameters.get("initial_conv") == "strided":
            flags += ["--stride", str(self.manifest.hyper_parameters.get("stride"))]
        return flags


def read_bundle(folder: Path, *, check_hashes: bool = True) -> Bundle:
    """Read a bundle and check that every file is present and unaltered.

    Args:
        folder: The bundle's folder.
        check_hashes: Also compare the sha256 of every file (a few milliseconds for a small model).

    Warns:
        WavePaintWarning: The entry of a plan is damaged; the bundle is read without it.

    Raises:
        BundleError: Missing, incomplete, altered, or of another format version.
    """
    try:
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "does not exist"
            raise BundleError(f"{folder} {problem}. Expected the folder of a bundle, as wp export makes it.")
        manifest = parse_manifest(_read_manifest_file(folder / MANIFEST_NAME), folder / MANIFEST_NAME)
        _check_files(folder, manifest, check_hashes)
        _refuse_external_data(folder, manifest)
    except FileNotFoundError:
        raise BundleError(f"{folder} has no {MANIFEST_NAME}, so it is not a bundle. Make one with wp export.") from None
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return Bundle(folder, manifest)


def _read_manifest_file(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # checked before opening, because opening a pipe would block
        raise BundleError(f"{path} is not a regular file. Copy the whole bundle again, or export it again.")
    with path.open("rb") as stream:
        data = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than {MAX_MANIFEST_BYTES >> 20} MiB. Export the checkpoint again.")
    return data


def _check_files(folder: Path, manifest: Manifest, check_hashes: bool) -> None:
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"{folder} lacks {name}. Copy the whole bundle again, or export it again.")
        if file.stat().st_size != expected["bytes"]:
            raise _altered(file, "size")
    for name, expected in manifest.files.items() if check_hashes else ():  # only once every size is right
        if hash_file(folder / name) != expected["sha256"]:
            raise _altered(folder / name, "sha256")


def _altered(file: Path, property_name: str) -> BundleError:
    return BundleError(
        f"{file} was altered or is damaged: its {property_name} differs from the manifest's. Copy the whole bundle "
        "again, or export it again."
    )


def _refuse_external_data(folder: Path, manifest: Manifest) -> None:
    named = {a.path if a.kind == "onnx" else a.details["onnx"] for a in manifest.artifacts}
    for file in (folder / name for name in sorted(named & manifest.files.keys())):
        try:
            external = has_external_data(file)
        except ValueError:  # engines refuse the file too, and the bundle's other models may work
            continue
        if external:
            raise BundleError(
                f"{file} keeps weights in other files (external data), which bundles never do: the model could read "
                "any file on this machine. Export the checkpoint again."
            )


def hash_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_files(folder: Path) -> dict[str, FileEntry]:
    """Return hash and size of every file in a bundle's folder except the manifest."""
    return {
        path.name: {"sha256": hash_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST_NAME
    }


def assets_folder() -> Path:
    """Return the folder of the files that ship with the package."""
    return Path(__file__).parent.parent / "assets"


def default_bundle_folder() -> Path:
    """Return the folder of the default model."""
    return assets_folder() / "default"
