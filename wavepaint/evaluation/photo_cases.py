"""What is filled: photos with holes, drawn as ``wp masks`` draws them, or paired with the masks of a folder."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from wavepaint.data.evaluation import RECORD, draw_evaluation_mask
from wavepaint.data.folders import SUFFIXES, find_files
from wavepaint.data.masks import MaskSampler, describe_kind
from wavepaint.data.sources import FolderSource, PhotoSource
from wavepaint.data.validation_set import Pixels, fit_photo
from wavepaint.errors import ConfigError, ImageError, list_names, printable
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.inpainter import read_fitting_mask
from wavepaint.runtime.jobs import Job
from wavepaint.runtime.pairing import find_jobs

WHOLE_SET = "masks"
"""Name of the only set of a folder of masks."""
_NOWHERE = Path("/no-results")
"""The pairing of files names a result for each; these are never written."""
_ROTATED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


class Case(NamedTuple):
    """A photo (H, W, 3) uint8 and its hole (H, W), 1 inside."""

    name: str
    photo: Pixels
    mask: Pixels


@dataclass(frozen=True, kw_only=True)
class CaseKey:
    """A case that is not loaded.

    Attributes:
        set_name: The set.
        photo: Name of the photo. Sets share it.
        mask: Name of the mask's file; empty for a drawn one.
        results: Names that its result may have, relative to the folder of results: the one that ``wp infer`` gives it,
            and others without their ending.
        number: Its place among the photos or the pairs.
    """

    set_name: str
    photo: str
    mask: str = ""
    results: tuple[str, ...] = ()
    number: int = 0


class Cases(ABC):
    """Cases that are loaded one by one.

    Attributes:
        keys: All cases.
    """

    keys: Sequence[CaseKey]

    @abstractmethod
    def load(self, key: CaseKey) -> Case:
        """Load a case."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the settings and a hash of the data, for reports."""


class DrawnCases(Cases):
    """Photos scaled to one size, with the same holes as in a set that ``wp masks`` writes with these settings.

    Args:
        source: The photos.
        kinds: Mask kinds, each a set.
        size: Side in pixels to which photos are scaled and cropped.
        seed: Seed of the masks.
        names: The photos to take; None takes all.
        silhouettes: Folder of cut-outs for the kind "silhouettes".

    Raises:
        ConfigError: A setting is out of range.
        TrainingError: The header of a photo cannot be read.
    """

    def __init__(
        self,
        source: PhotoSource,
        kinds: Sequence[str],
        *,
        size: int,
        seed: int = 0,
        names: Sequence[str] | None = None,
        silhouettes: Path | None = None,
    ) -> None:
        if len(set(kinds)) < max(len(kinds), 1) or any(":" in kind for kind in kinds):
            raise ConfigError(f"--masks is {','.join(kinds)}: expected mask kinds without weights, each once.")
        self._source, self._size, self._seed = source, size, seed
        self._samplers = {kind: MaskSampler((kind,), silhouettes) for kind in kinds}
        self._names = list(source.names if names is None else names)
        self._last: tuple[int, Pixels] | None = None
        for name in self._names:
            source.measure(name)
        self.keys = [
            CaseKey(set_name=kind, photo=name, number=number)
            for number, name in enumerate(self._names)
            for kind in kinds
        ]

    def load(self, key: CaseKey) -> Case:
        """Load a case.

        Raises:
            TrainingError: The photo cannot be decoded.
        """
        if self._last is None or self._last[0] != key.number:
            self._last = (key.number, fit_photo(self._source.read(key.photo), self._size))
        mask = draw_evaluation_mask(self._samplers[key.set_name], self._size, key.set_name, key.photo, seed=self._seed)
        return Case(key.photo, self._last[1], mask)

    def describe(self) -> dict[str, Any]:
        """Return the settings and a hash of the photos' names and sizes."""
        return {
            "masks": {kind: describe_kind(kind) for kind in self._samplers},
            "size": self._size,
            "mask_seed": self._seed,
            "data": self._source.describe(self._names),
        }


class FolderCases(Cases):
    """Photos as they are, each with its masks of a folder, paired by name as ``wp infer`` pairs them.

    A folder that ``wp masks`` wrote with several kinds gives a set for each.

    Args:
        photos: Folder of the photos.
        masks: Folder of the masks; it may be the same.
        results: Folders of results, which may lie among the photos.

    Attributes:
        sizes: Height and width of the photo of each pair, by its number.

    Raises:
        ImageError: A photo has no mask, a mask has no photo, their sizes differ, or a file cannot be read.
    """

    def __init__(self, photos: Path, masks: Path, results: Iterable[Path] = ()) -> None:
        for folder, option in ((photos, "--data"), (masks, "--mask-folder")):
            if not folder.is_dir():
                raise ImageError(f"{printable(folder)} is not a folder ({option}): expected a folder of images.")
        self._photos, self._masks = photos, masks
        root = photos.resolve()
        others = [path for folder in (masks, *results) if root in (path := folder.resolve()).parents]
        self._jobs = [
            job
            for job in find_jobs(str(photos), str(masks), _NOWHERE)
            if not any(job.inputs[0].resolve().is_relative_to(folder) for folder in others)
        ]
        if lacking := [job.inputs[0].relative_to(photos) for job in self._jobs if job.mask is None]:
            raise ImageError(
                f"{len(lacking)} of the photos in {printable(photos)} have no mask in {printable(masks)}: "
                f"{list_names(lacking)}. Name the masks like the photos, or name_mask."
            )
        self._check_masks()
        self.sizes = self._check_sizes()
        kinds = _read_kinds(photos)
        self.keys = [self._make_key(job, number, kinds) for number, job in enumerate(self._jobs)]

    def _check_masks(self) -> None:
        """Refuse masks without a photo."""
        used = {path for job in self._jobs for path in job.inputs}
        unused = [
            name
            for name in sorted(find_files(self._masks))
            if Path(name).suffix.lower() in SUFFIXES and self._masks / name not in used
        ]
        if unused:
            raise ImageError(
                f"{len(unused)} of the masks in {printable(self._masks)} have no photo in {printable(self._photos)}: "
                f"{list_names(unused)}. Add the photos, or remove the masks."
            )

    def _check_sizes(self) -> list[tuple[int, int]]:
        """Return the sizes of the photos, and refuse masks of other sizes."""
        sizes = [tuple(measure_image(path) for path in job.inputs) for job in self._jobs]
        if wrong := [
            f"{job.inputs[1].relative_to(self._masks)} is {mask[1]}x{mask[0]} and its photo {photo[1]}x{photo[0]}"
            for job, (photo, mask) in zip(self._jobs, sizes, strict=True)
            if photo != mask
        ]:
            raise ImageError(f"{len(wrong)} of the masks have another size than the photo: {list_names(wrong)}.")
        return [photo for photo, _ in sizes]

    def _make_key(self, job: Job, number: int, kinds: Sequence[str]) -> CaseKey:
        photo, mask = job.inputs[0].relative_to(self._photos), job.inputs[1].relative_to(self._masks)
        result = job.outputs[0].relative_to(_NOWHERE)
        results = (result.as_posix(), result.with_suffix("").as_posix(), mask.with_suffix("").as_posix())
        set_name = photo.parts[0] if photo.parts[0] in kinds else WHOLE_SET
        # Sets that wp masks wrote hold the same photos, each in its folder.
        name = PurePosixPath(*photo.parts[1:]) if set_name in kinds else photo
        return CaseKey(set_name=set_name, photo=name.as_posix(), mask=mask.as_posix(), results=results, number=number)

    def load(self, key: CaseKey) -> Case:
        """Load a case.

        Raises:
            ImageError: A file cannot be read, or its mask is empty or a photo.
        """
        job = self._jobs[key.number]
        photo = read_photo(job.inputs[0])
        mask = read_fitting_mask(job.inputs[1], photo, FillOptions()).hole
        if not mask.any():
            raise ImageError(f"{printable(job.inputs[1])} is empty: white marks the hole. Remove it, or draw one.")
        return Case(key.photo, read_colours(job.inputs[0]), mask.astype(np.uint8))

    def describe(self) -> dict[str, Any]:
        """Return hashes of the names and sizes of the files."""
        photos = {job.inputs[0].relative_to(self._photos).as_posix() for job in self._jobs}
        masks = {key.mask for key in self.keys}
        return {
            "data": FolderSource(self._photos, photos).describe(),
            "mask_folder": FolderSource(self._masks, masks).describe(),
        }


def _read_kinds(folder: Path) -> Sequence[str]:
    """Return the kinds of a set that ``wp masks`` wrote with a folder for each kind."""
    try:
        kinds = json.loads((folder / RECORD).read_text())["kinds"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return [kind for kind in kinds if (folder / str(kind)).is_dir()] if isinstance(kinds, list) else ()


def measure_image(path: Path) -> tuple[int, int]:
    """Return height and width of an upright image; only its header is decoded.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            rotated = image.getexif().get(0x0112) in _ROTATED
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        raise ImageError(f"{printable(path)} cannot be read as an image: remove or replace it.") from error
    return (width, height) if rotated else (height, width)


def read_colours(path: Path) -> Pixels:
    """Read an image as upright RGB of 8 bits, (H, W, 3); alpha is dropped.

    Raises:
        ImageError: It cannot be read.
    """
    pixels = read_photo(path).pixels
    levels = np.round(pixels / 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
    colours = levels[..., :3] if levels.shape[2] >= 3 else levels[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(colours)
