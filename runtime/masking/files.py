"""Write the masks of photos on disk, several at once. Failures are isolated."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from wavepaint.errors import ConfigError, ImageError, OutputError, WavePaintError, printable
from wavepaint.machine import count_cores
from wavepaint.runtime.images.encode import write_photo
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.jobs import Job
from wavepaint.runtime.masking.components import count_components
from wavepaint.runtime.masking.drawing import MaskOptions, mark_photo
from wavepaint.runtime.pairing import find_match, find_photos, refuse_duplicates
from wavepaint.runtime.photo_list import LIST_SUFFIXES
from wavepaint.runtime.pipeline import map_groups
from wavepaint.runtime.previews import make_overlay

MAX_WORKERS = 4
"""Largest number of photos in work at once, because each takes memory."""

_LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".webp")

_OUT_OF_MEMORY = "out of memory. Close other programs, or scale the image down."


@dataclass(frozen=True, kw_only=True)
class MaskResult:
    """The outcome of drawing a mask.

    Attributes:
        job: The photo, the mask's place and the overlay's; the job's own mask is None.
        status: "written", "empty" (a mask without a hole was written), "skipped" (it existed before) or "failed".
        size: Width and height of the photo in pixels; zeros if no mask was written.
        num_holes: Number of connected parts of the hole.
        share: Share of the photo that the hole covers, 0 to 1.
        reason: Why it is empty or failed, in one line that begins with the photo's path.
    """

    job: Job
    status: Literal["written", "empty", "skipped", "failed"]
    size: tuple[int, int] = (0, 0)
    num_holes: int = 0
    share: float = 0.0
    reason: str = ""


def find_mask_jobs(images: str, out: Path | None, overlays: Path | None) -> list[Job]:
    """List the photos of a folder or pattern, and where their masks go: ``name_mask.png``, as ``wp infer`` expects.

    Args:
        images: A folder (searched to any depth) or a pattern. Masks of its photos are left out.
        out: Folder of the masks, which keeps the photos' tree; None for beside the photos.
        overlays: Folder of the pictures with the hole tinted, ``name_overlay.png``. It may not lie among the photos.

    Raises:
        ImageError: No photo was found.
        OutputError: Two masks have the same name, masks and pictures share a folder, or pictures would later be taken
            for photos.
        ConfigError: ``images`` is a list, which names its masks itself, or a pattern with ``..`` after a wildcard.
    """
    if Path(images).suffix.lower() in LIST_SUFFIXES and not Path(images).is_dir():
        raise ConfigError(
            f"{printable(images)} is a list, which names masks itself: expected a photo, a folder or a pattern."
        )
    if overlays is not None and out is not None and out.resolve() == overlays.resolve():
        raise OutputError("masks and overlays need different folders (--out, --overlay).")
    jobs = []
    for photo, place in find_photos(images, [] if out is None else [out]):
        mask = name_mask(photo if out is None else out / place)
        overlay = None if overlays is None else (overlays / place).with_name(f"{place.stem}_overlay.png")
        jobs.append(Job(photo, None, mask, overlay))
    if not jobs:
        raise ImageError(f"{printable(images)} contains no photo to draw a mask for.")
    refuse_duplicates(jobs)
    if taken := find_match(images, [job.overlay for job in jobs if job.overlay is not None]):
        raise OutputError(
            f"{printable(taken)} would lie among the photos of {printable(images)}, and be taken for one. Choose a "
            "folder outside of them (--overlay)."
        )
    return jobs


def name_mask(photo: Path) -> Path:
    """Return the default place of a photo's mask: beside it, with ``_mask`` in its name."""
    return photo.with_name(f"{photo.stem}_mask.png")


def check_mask_name(path: Path) -> None:
    """Refuse a name whose format would blur the mask.

    Raises:
        OutputError: The suffix stands for a lossy format, or for none.
    """
    if path.suffix.lower() not in _LOSSLESS:
        raise OutputError(f"{printable(path)}: masks are written without loss. Use a name in {', '.join(_LOSSLESS)}.")


def write_masks(
    jobs: Sequence[Job], options: MaskOptions, *, overwrite: bool = False, resume: bool = False
) -> Generator[MaskResult, None, None]:
    """Draw and write the masks of photos, a few at once.

    A single photo whose mask would be empty fails. Among several, an empty mask is written, so that each photo has one
    and a later fill returns that photo as it is.

    Args:
        jobs: The photos, and where their masks and overlays go.
        options: What to mark.
        overwrite: Replace existing files.
        resume: Skip photos whose mask exists.

    Yields:
        A result for each job, in order. Files appear complete or not at all, even if the caller stops early.
    """
    write = partial(_write_mask, options=options, overwrite=overwrite, resume=resume, may_be_empty=len(jobs) > 1)
    if len(jobs) == 1:
        yield write(jobs[0])
    else:
        work: Callable[[list[Job]], list[MaskResult]] = lambda group: [write(job) for job in group]  # noqa: E731
        yield from map_groups(work, jobs, workers=min(count_cores(), MAX_WORKERS), group_size=1)


def _write_mask(job: Job, *, options: MaskOptions, overwrite: bool, resume: bool, may_be_empty: bool) -> MaskResult:
    if resume and job.is_done:
        return MaskResult(job=job, status="skipped")
    name = printable(job.image) if isinstance(job.image, Path) else "the image"
    try:
        photo = read_photo(job.image)
        hole, advice = mark_photo(photo, options)
        reason = f"{name}: {advice}" if advice else ""
        if advice and not may_be_empty:
            return MaskResult(job=job, status="failed", reason=reason)
        # The mask comes last: if it exists, so does the overlay, and --resume may skip the photo.
        if job.overlay is not None:
            write_photo(Photo(np.asarray(make_overlay(photo, hole))), job.overlay, overwrite=overwrite or resume)
        assert isinstance(job.out, Path)
        write_photo(Photo(hole[..., None] * np.uint8(255)), job.out, overwrite=overwrite)
    except (WavePaintError, MemoryError) as error:
        reason = str(error) or _OUT_OF_MEMORY
        return MaskResult(job=job, status="failed", reason=reason if name in reason else f"{name}: {reason}")
    return MaskResult(
        job=job,
        status="empty" if reason else "written",
        size=photo.size,
        num_holes=count_components(hole),
        share=float(hole.mean()),
        reason=reason,
    )
