"""What is evaluated: a bundle in an engine, a checkpoint in PyTorch, or a folder of results."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from wavepaint.contract import MANIFEST_NAME, Bundle, Precision
from wavepaint.data.folders import SUFFIXES, find_files
from wavepaint.data.split import SPLIT
from wavepaint.data.validation_set import Pixels
from wavepaint.errors import CheckpointError, ConfigError, ImageError, list_names, printable
from wavepaint.evaluation.photo_cases import Case, CaseKey, Cases, FolderCases, measure_image, read_colours
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.filling.padding import pad_to_multiple
from wavepaint.runtime.inpainter import Inpainter

if TYPE_CHECKING:
    from wavepaint.weights.checkpoint import Checkpoint

DEFAULT = "default"
"""Name of the model that ships."""


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """How subjects run: engine, precision and threads of bundles, device of checkpoints."""

    engine: EngineName | Auto = "auto"
    precision: Precision | Auto = "auto"
    threads: int | None = None
    device: str = "cpu"


class Subject(ABC):
    """Something that fills holes.

    Attributes:
        title: Its name in reports.
    """

    title: str

    @abstractmethod
    def fill(self, key: CaseKey, case: Case) -> Pixels:
        """Return the whole filled photo (H, W, 3) uint8."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return kind, hash and versions, for reports."""

    def close(self) -> None:  # noqa: B027  most have nothing to free
        """Free what it holds."""


class BundleSubject(Subject):
    """A bundle, or the one that ships (None), in an engine of the runtime."""

    def __init__(self, title: str, folder: Path | None, choice: EngineChoice) -> None:
        self.title = title
        self._inpainter = Inpainter(folder, engine=choice.engine, precision=choice.precision, threads=choice.threads)

    def fill(self, key: CaseKey, case: Case) -> Pixels:
        """Fill the hole as ``wp infer`` does."""
        try:
            return np.asarray(self._inpainter.fill(_hide(case), case.mask > 0))
        except ImageError as error:
            raise ImageError(f"{printable(key.mask or case.name)}: {error}") from error

    def describe(self) -> dict[str, Any]:
        """Return the engine and the hash of the float32 model."""
        return describe_bundle(self._inpainter.bundle, self._inpainter.engine)

    def close(self) -> None:
        """Free the engine."""
        self._inpainter.close()


class CheckpointSubject(Subject):
    """A checkpoint in PyTorch, in float32."""

    def __init__(self, title: str, path: Path, choice: EngineChoice) -> None:
        import torch

        from wavepaint.weights.checkpoint import read_checkpoint

        self.title, self._device = title, choice.device
        checkpoint = read_checkpoint(path)
        if checkpoint.architecture.task != "inpainting":
            raise CheckpointError(
                f"{path} is a network for {checkpoint.architecture.task} ({checkpoint.architecture.name}): expected "
                "one that fills holes."
            )
        if choice.threads:
            torch.set_num_threads(choice.threads)
        self._description = describe_checkpoint(checkpoint, choice.device)
        self._network = checkpoint.build().eval().to(choice.device)

    def fill(self, key: CaseKey, case: Case) -> Pixels:
        """Fill the whole photo in one piece, padded like the runtime pads."""
        import torch

        network = self._network
        image, mask = (
            torch.from_numpy(pad_to_multiple(pixels, network.size_multiple, network.padding))[None].to(self._device)
            for pixels in (_hide(case), case.mask)
        )
        with torch.inference_mode():
            filled = network(image.permute(0, 3, 1, 2).float() / 255, mask[:, None].float()).clamp(0, 1)
        height, width = case.mask.shape
        levels = np.round(filled[0].permute(1, 2, 0).cpu().numpy()[:height, :width] * 255).astype(np.uint8)
        return np.where(case.mask[..., None] > 0, levels, case.photo)

    def describe(self) -> dict[str, Any]:
        """Return the file's hash, the version of PyTorch and the steps trained."""
        return self._description


class ResultFolder(Subject):
    """Results that another program made, matched by name with photos and masks.

    A result is named after its photo or its mask, as ``wp infer`` and LaMa's tools name them, with any ending.

    Raises:
        ConfigError: Holes are drawn, so that no result can belong to them.
        ImageError: A photo has no result or several, a result has another size, or belongs to no photo.
    """

    def __init__(self, title: str, folder: Path, cases: Cases) -> None:
        if not isinstance(cases, FolderCases):
            raise ConfigError(
                f"{printable(folder)} is a folder of results, which needs the masks that they were made with: pass "
                "--mask-folder."
            )
        self.title = title
        self._folder = folder
        self._files = self._match(cases)
        self._check_sizes(cases.sizes)

    def _match(self, cases: FolderCases) -> dict[int, Path]:
        """Return the result of each case."""
        found: dict[str, list[str]] = {}
        for name in sorted(find_files(self._folder)):
            path = PurePosixPath(name)
            if path.suffix.lower() in SUFFIXES:
                found[name] = [name]
                found.setdefault(path.with_suffix("").as_posix(), []).append(name)
        where = printable(self._folder)
        matched = {key.number: next((found[n] for n in key.results if n in found), []) for key in cases.keys}
        if lacking := [key.mask for key in cases.keys if not matched[key.number]]:
            raise ImageError(
                f"{len(lacking)} of {len(cases.keys)} masks have no result in {where}: {list_names(lacking)}. A result "
                "is named after its photo or, if that has several masks, after its mask."
            )
        if several := [names for names in matched.values() if len(names) > 1]:
            raise ImageError(f"{where} has several results for one mask: {list_names(several[0])}. Keep one of them.")
        files = {number: names[0] for number, names in matched.items()}
        if unused := sorted({name for names in found.values() for name in names} - set(files.values())):
            raise ImageError(
                f"{len(unused)} images in {where} have no photo and mask: {list_names(unused)}. Remove them, or add "
                "the photos."
            )
        return {number: self._folder / name for number, name in files.items()}

    def _check_sizes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Refuse results of other sizes than the photos."""
        wrong = []
        for number, path in self._files.items():
            (height, width), own = sizes[number], measure_image(path)
            if own != (height, width):
                name = path.relative_to(self._folder)
                wrong.append(f"{name} is {own[1]}x{own[0]} and its photo {width}x{height}")
        if wrong:
            raise ImageError(
                f"{len(wrong)} results in {printable(self._folder)} have another size than the photo: "
                f"{list_names(wrong)}."
            )

    def fill(self, key: CaseKey, case: Case) -> Pixels:
        """Read the result."""
        return read_colours(self._files[key.number])

    def describe(self) -> dict[str, Any]:
        """Return the number of results."""
        return {"kind": "results", "num_results": len(self._files)}


def describe_bundle(bundle: Bundle, engine: str) -> dict[str, Any]:
    """Return the name of a bundle, its engine and the hashes of its files."""
    return {
        "kind": "bundle",
        "name": bundle.manifest.name,
        "engine": engine,
        "files": {name: entry["sha256"] for name, entry in bundle.manifest.files.items()},
    }


def describe_checkpoint(checkpoint: "Checkpoint", device: str) -> dict[str, Any]:
    """Return a checkpoint's file and hash, the steps trained, and the version and device of PyTorch."""
    import torch

    return {
        "kind": "checkpoint",
        "file": checkpoint.path.name,
        "sha256": checkpoint.sha256,
        "step": checkpoint.training.get("step"),
        "engine": f"PyTorch {torch.__version__} on {device}, float32",
    }


def _hide(case: Case) -> Pixels:
    """Return the photo, black in the hole: no method may see the original."""
    return np.where(case.mask[..., None] > 0, np.uint8(0), case.photo)


def open_subject(name: str, cases: Cases, choice: EngineChoice) -> Subject:
    """Open what a path names: a bundle, a run's folder, a folder of results, or a checkpoint.

    Args:
        name: The path, or "default" for the model that ships.
        cases: The cases it will fill.
        choice: How it runs.

    Raises:
        WavePaintError: It does not exist, cannot be read, or does not fit the cases.
    """
    path = Path(name)
    if name == DEFAULT and not path.exists():
        return BundleSubject(name, None, choice)
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return BundleSubject(name, path, choice)
        if (path / SPLIT).is_file():
            from wavepaint.training.run_folder import BEST

            return CheckpointSubject(name, path / BEST, choice)
        return ResultFolder(name, path, cases)
    if not path.exists():
        raise ConfigError(
            f"{printable(path)} does not exist: expected a bundle's folder, a checkpoint, a run's folder, a folder of "
            f'results, or "{DEFAULT}" for the model that ships.'
        )
    return CheckpointSubject(name, path, choice)
