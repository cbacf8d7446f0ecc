"""Pair photos with masks: folders, patterns and lists become jobs."""

import glob
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from itertools import takewhile
from pathlib import Path

from PIL import Image
from wavepaint.atomic import exists
from wavepaint.errors import ConfigError, ImageError, OutputError, WavePaintWarning, printable
from wavepaint.runtime.images.encode import is_written, name_result
from wavepaint.runtime.images.kinds import HEIF_SUFFIXES, SKIPPED_SUFFIXES
from wavepaint.runtime.jobs import Job
from wavepaint.runtime.photo_list import LIST_SUFFIXES, read_rows

_MASK_NAME = re.compile(r"(?P<stem>.+)_mask\d*")


def is_pattern(text: str) -> bool:
    """Return whether an argument is a pattern such as ``photos/*.jpg`` and not a file of that very name."""
    return glob.has_magic(text) and not exists(Path(text))


def is_batch(text: str) -> bool:
    """Return whether an argument names a batch of photos: a folder, a pattern, or a CSV or JSONL list."""
    return Path(text).is_dir() or is_pattern(text) or Path(text).suffix.lower() in LIST_SUFFIXES


def find_jobs(
    images: str, masks: str | None, out: Path, *, overlays: Path | None = None, comparisons: Path | None = None
) -> list[Job]:
    """Pair images with masks.

    Args:
        images: A folder (searched to any depth), a pattern (``**`` for any depth), or a list. The folder of a pattern
            is the part before its first wildcard. Paths in a list (:mod:`wavepaint.runtime.photo_list`) are relative
            to the list's folder.
        masks: A folder, or one mask for all images. None for a list, and for a folder that contains both, as LaMa's
            tools write it (``name.png``, ``name_mask000.png``). In a folder the mask of ``name.*`` is ``name.*``,
            ``name_mask.*`` or ``name_mask*NNN*.*`` at the same place in the tree. An image with several masks is
            filled once for each, and the results are named after the masks.
        out: Folder of the results, which keeps the images' tree.
        overlays: Folder of pictures with the hole tinted, named after the results, as PNG.
        comparisons: Folder of side-by-side pictures, named in the same way.

    Returns:
        The jobs, in the order of the images' paths or of the list. If ``out`` or a folder of pictures lies in the
        images' tree, its files are those of earlier runs and are not filled again.

    Raises:
        ImageError: No image was found, no image has a mask, or the list is broken.
        OutputError: Two results have the same name, a list's result lies outside of ``out``, or results and pictures
            share a folder.
        ConfigError: Masks are given for a list, or a pattern has ``..`` after a wildcard.
    """
    if Path(images).suffix.lower() in LIST_SUFFIXES and not Path(images).is_dir():
        if masks is not None:
            raise ConfigError(f"the list {images} names its masks itself: leave MASK ({masks}) out.")
        jobs = list(_read_list(Path(images), out))
    else:
        jobs = _pair_files(images, masks, out, [folder for folder in (overlays, comparisons) if folder is not None])
    if not jobs:
        raise ImageError(f"{images} contains no image to fill (of the kinds {', '.join(sorted(_list_suffixes()))}).")
    if all(job.mask is None for job in jobs):
        image = jobs[0].inputs[0]
        raise ImageError(
            f"none of the {len(jobs)} images has a mask in {masks or images}: expected, for {printable(image)}, "
            f"{printable(f'{image.stem}.png, {image.stem}_mask.png or {image.stem}_mask000.png')} at the same place."
        )
    refuse_duplicates(jobs)
    return _add_pictures(jobs, out, overlays, comparisons)


def _pair_files(images: str, masks: str | None, out: Path, pictures: Iterable[Path]) -> list[Job]:
    """Pair the images of a folder or pattern with one mask or a folder of masks."""
    root, found = _find_images(images, [out, *pictures])
    if masks is not None and Path(masks).is_file():
        return [
            Job(path, Path(masks), out / name_result(path.relative_to(root))) for path in found if path != Path(masks)
        ]
    folder = root if masks is None else Path(masks)
    if not folder.is_dir():
        raise ImageError(f"{folder} is neither a mask nor a folder of masks.")
    return list(_pair_by_name(root, found, folder, out))


@cache
def _list_suffixes() -> frozenset[str]:
    Image.init()
    return frozenset([*filter(is_written, Image.EXTENSION), *HEIF_SUFFIXES])


def _is_image(path: Path) -> bool:
    """Return whether a name is an image's. Broken links and pipes count: they are reported when they are read."""
    return path.suffix.lower() in _list_suffixes() and not path.is_dir() and not path.name.startswith(".")


def _walk(root: Path) -> list[Path]:
    """Return the files in a tree; a folder that cannot be read causes a warning and is skipped."""

    def warn(error: OSError) -> None:
        warnings.warn(
            f"{error.filename} cannot be read ({error.strerror}) and is skipped.", WavePaintWarning, stacklevel=4
        )

    return [Path(folder, name) for folder, _, names in os.walk(root, onerror=warn) for name in names]


def _find_root(pattern: str) -> Path:
    """Return the folder above the first wildcard, so that the tree does not depend on which files match.

    Raises:
        ConfigError: The pattern leads up again after a wildcard, and thus to results above their folder.
    """
    *folders, _ = Path(pattern).parts
    fixed = list(takewhile(lambda part: not glob.has_magic(part), folders))
    if os.pardir in folders[len(fixed) :]:
        raise ConfigError(f"{printable(pattern)} has .. after a wildcard: expected .. only before the first wildcard.")
    return Path(*fixed)


def _find_images(images: str, outputs: Iterable[Path]) -> tuple[Path, list[Path]]:
    """Return the tree's root and the images in it, without those in folders of results.

    Warns:
        WavePaintWarning: It also has pictures of kinds that a batch leaves out.
    """
    root = _find_root(images) if is_pattern(images) else Path(images)
    # Path.glob takes no absolute pattern.
    files = [*map(Path, glob.glob(images, recursive=True))] if is_pattern(images) else _walk(root)  # noqa: PTH207
    skipped = Counter(suffix for path in files if (suffix := path.suffix.lower()) in SKIPPED_SUFFIXES)
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(skipped.items()))
        warnings.warn(
            f"{printable(images)}: {kinds} skipped. Convert these pictures to PNG or TIFF to fill them.",
            WavePaintWarning,
            stacklevel=4,
        )
    found = sorted(filter(_is_image, files))
    for folder in (output.resolve() for output in outputs):
        if root.resolve() in folder.parents:
            found = [path for path in found if not path.resolve().is_relative_to(folder)]
    return root, found


def find_photos(images: str, outputs: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Return the photos of a folder or pattern, each with its place in the tree.

    Args:
        images: A folder, searched to any depth, or a pattern.
        outputs: Folders of results, whose images are left out.

    Returns:
        The photos in the order of their paths, without the masks of others (``name_mask.*`` beside ``name.*``).
    """
    root, found = _find_images(images, outputs)
    stems = {(path.parent, path.stem) for path in found}

    def is_mask(path: Path) -> bool:
        named = _MASK_NAME.fullmatch(path.stem)
        return named is not None and (path.parent, named["stem"]) in stems

    return [(path, path.relative_to(root)) for path in found if not is_mask(path)]


def find_match(images: str, outputs: Iterable[Path]) -> Path | None:
    """Return the first output that a later search for the images of a folder or pattern would find, if there is one."""
    root = _find_root(images) if is_pattern(images) else Path(images)
    wildcards, real_root = Path(images).parts[len(root.parts) :], root.resolve()

    def is_found(place: Path) -> bool:
        if not place.is_relative_to(real_root):
            return False
        names = place.relative_to(real_root).parts
        if not wildcards or "**" in wildcards:
            return all(map(fnmatch, names[-1:], wildcards[-1:]))
        return len(names) == len(wildcards) and all(map(fnmatch, names, wildcards))

    return next((output for output in outputs if is_found(output.resolve())), None)


def find_label_maps(images: Path, labels: Path) -> dict[Path, list[Path]]:
    """Pair images with label maps in the way in which masks are found: the same name, or ``name_mask.*``.

    Args:
        images: A folder, searched to any depth.
        labels: The folder of the label maps, with the same tree. It may be ``images``.

    Returns:
        The label maps of each image; none or several are for the caller to refuse.
    """
    root, found = _find_images(str(images), () if images == labels else (labels,))
    return dict(_match_by_name(root, found, labels))


def _pair_by_name(root: Path, found: Iterable[Path], folder: Path, out: Path) -> Iterator[Job]:
    for image, masks in _match_by_name(root, found, folder):
        place = image.relative_to(root).parent
        for mask in masks or (None,):
            name = f"{mask.stem}{image.suffix}" if mask is not None and len(masks) > 1 else image.name
            yield Job(image, mask, out / place / name_result(Path(name)))


def _match_by_name(root: Path, found: Iterable[Path], folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each image that is not a mask, with its masks in the folder."""
    is_shared = folder.resolve() == root.resolve()
    masks: dict[tuple[Path, str], list[Path]] = {}
    stems = {(path.relative_to(root).parent, path.stem) for path in found}
    mask_files: set[Path] = set()
    for path in sorted(filter(_is_image, _walk(folder))):
        place, named = path.relative_to(folder).parent, _MASK_NAME.fullmatch(path.stem)
        if named and (place, named["stem"]) in stems:
            masks.setdefault((place, named["stem"]), []).append(path)
            mask_files.add(path)
        elif not is_shared:
            masks.setdefault((place, path.stem), []).append(path)
    for image in found:
        if image in mask_files:
            continue
        yield image, masks.get((image.relative_to(root).parent, image.stem), [])


def _read_list(path: Path, out: Path) -> Iterator[Job]:
    for place, row in read_rows(path):
        image = path.parent / row["image"]
        result = os.path.normpath(row.get("out") or name_result(image).name)
        if result == os.curdir or Path(result).anchor or Path(result).parts[0] == os.pardir:
            raise OutputError(
                f"{place} has the result {printable(result)}: expected a file name relative to the folder of the "
                "results (--out), and inside that folder."
            )
        yield Job(image, path.parent / row["mask"], out / result)


def refuse_duplicates(jobs: Iterable[Job]) -> None:
    """Refuse jobs whose results have the same place.

    Raises:
        OutputError: Two results have the same place.
    """
    results: dict[object, Job] = {}
    for job in jobs:
        former = results.setdefault(job.out, job)
        if former is not job:
            same = former.image == job.image
            first, second = (former.mask, job.mask) if same else (former.image, job.image)
            whose = f"{printable(job.image)} with the masks " if same else ""
            raise OutputError(
                f"{whose}{printable(first)} and {printable(second)} would both become {printable(job.out)}. Rename "
                "one, or name the results in a list."
            )


def _add_pictures(jobs: list[Job], out: Path, overlays: Path | None, comparisons: Path | None) -> list[Job]:
    """Return the jobs with places for their pictures."""
    chosen = [folder.resolve() for folder in (out, overlays, comparisons) if folder is not None]
    if len(set(chosen)) < len(chosen):
        raise OutputError("results and pictures need different folders (--out, --save-overlay, --compare).")

    def locate(job: Job, folder: Path | None) -> Path | None:
        if folder is None:
            return None
        # The suffix stays in the name, since a.jpg and a.png may be in one folder.
        name = job.outputs[0].relative_to(out)
        return folder / name.with_name(f"{name.name}.png")

    return [replace(job, overlay=locate(job, overlays), comparison=locate(job, comparisons)) for job in jobs]
