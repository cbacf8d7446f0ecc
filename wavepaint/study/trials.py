"""The trials of a study: a photo, its hole, and the fills of two methods."""

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavepaint.contract import MANIFEST_NAME
from wavepaint.errors import ConfigError, ImageError, WavePaintWarning, printable
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.inpainter import Inpainter, read_fitting_mask
from wavepaint.runtime.jobs import Job
from wavepaint.runtime.pairing import find_jobs, find_photos, is_batch
from wavepaint.runtime.previews import as_rgb


@dataclass(frozen=True)
class Trial:
    """One question of a study.

    Attributes:
        name: The image's name in the answers.
        photo: The original.
        hole: (H, W), true in the hole.
        fills: The photo as A and as B filled it.
    """

    name: str
    photo: Photo
    hole: NDArray[np.bool_]
    fills: tuple[Photo, Photo]


def is_bundle(folder: Path) -> bool:
    """Return whether a method is a bundle, and not a folder of results."""
    return (folder / MANIFEST_NAME).is_file()


def find_trial_jobs(images: str, masks: str | None, *, count: int | None = None, seed: int = 0) -> list[Job]:
    """Pair images with masks, as ``wp infer`` does. Each job is a trial, and ``out`` is the name of its results.

    Args:
        images: As in :func:`wavepaint.runtime.pairing.find_jobs`.
        masks: As there.
        count: Number of trials to choose at random; None for all.
        seed: Start of that choice.

    Raises:
        ImageError: No image was found, or one has no mask.
        ConfigError: There are fewer images than ``count``.
    """
    if not is_batch(images):
        raise ImageError(
            f"{printable(images)} is not a folder of images: expected one, a pattern in quotes or a list (--images)."
        )
    jobs = find_jobs(images, masks, Path())
    bare = [job.inputs[0] for job in jobs if job.mask is None]
    if bare:
        raise ImageError(f"{_count(bare, 'image', len(jobs))} no mask in {masks or images}: {_list_first(bare)}.")
    if count is None:
        return jobs
    if count > len(jobs):
        raise ConfigError(f"--count is {count}: expected 1 to {len(jobs)}, the images in {printable(images)}.")
    chosen = set(random.Random(seed).sample(range(len(jobs)), count))
    return [job for index, job in enumerate(jobs) if index in chosen]


def find_results(folder: Path, jobs: Sequence[Job]) -> list[Path]:
    """Return a method's result for each job.

    A result has the name of the image or, as in LaMa's tools and for images with several masks, of the mask. Its suffix
    does not count.

    Raises:
        ImageError: The folder does not exist, results are missing, or two files could be the result.
    """
    if not folder.is_dir():
        raise ImageError(f"{printable(folder)} is neither a folder of results nor a bundle.")
    found: dict[Path, list[Path]] = {}
    for path, place in find_photos(str(folder), []):
        found.setdefault(place.parent / place.stem, []).append(path)
    results, missing = [], []
    for job in jobs:
        assert isinstance(job.out, Path)
        names = [job.out.parent / job.out.stem, *(job.out.parent / path.stem for path in job.inputs[1:])]
        paths = next((found[name] for name in names if name in found), [])
        if len(paths) > 1:
            raise ImageError(
                f"{printable(paths[0])} and {printable(paths[1])} could both be the result for "
                f"{printable(job.inputs[0])}: keep one."
            )
        if paths:
            results.append(paths[0])
        else:
            missing.append(job.out)
    if missing:
        raise ImageError(
            f"{_count(missing, 'image', len(jobs))} no result in {printable(folder)}: {_list_first(missing)}. Results "
            "need the names of the images."
        )
    return results


def load_trials(
    jobs: Sequence[Job],
    methods: Sequence[Sequence[Path] | Inpainter],
    *,
    on_trial: Callable[[], object] = lambda: None,
) -> Iterator[Trial]:
    """Read or fill the trials, one after the other.

    Args:
        jobs: The trials.
        methods: For A and for B, the results in the order of the jobs, or the model that fills them.
        on_trial: Called before each trial.

    Warns:
        WavePaintWarning: A mask is empty or both fills are equal, so that there is nothing to choose; the trial is left
            out.

    Raises:
        ImageError: A file cannot be read, or a mask or a result has another size than its image.
    """
    for index, job in enumerate(jobs):
        on_trial()
        photo = read_photo(job.image)
        assert job.mask is not None
        hole = read_fitting_mask(job.mask, photo, FillOptions()).hole
        if not hole.any():
            _leave_out(job, "its mask is empty")
            continue
        first, second = (
            method.fill_photo(photo, hole) if isinstance(method, Inpainter) else _read_result(method[index], photo)
            for method in methods
        )
        if np.array_equal(as_rgb(first), as_rgb(second)):
            _leave_out(job, "both fills are the same")
            continue
        yield Trial(str(job.out), photo, hole, (first, second))


def _leave_out(job: Job, reason: str) -> None:
    warnings.warn(f"{printable(job.inputs[0])} is left out: {reason}.", WavePaintWarning, stacklevel=3)


def _read_result(path: Path, photo: Photo) -> Photo:
    result = read_photo(path)
    if result.size != photo.size:
        sizes = ["x".join(map(str, each.size)) for each in (result, photo)]
        raise ImageError(
            f"{printable(path)} has {sizes[0]} pixels: expected {sizes[1]}, the size of {printable(photo.source)}."
        )
    return result


def _count(missing: Sequence[Path], unit: str, total: int) -> str:
    return f"{len(missing)} of {total} {unit}s {'has' if len(missing) == 1 else 'have'}"


def _list_first(paths: Sequence[Path], most: int = 3) -> str:
    return ", ".join(map(printable, paths[:most])) + (" ..." if len(paths) > most else "")
