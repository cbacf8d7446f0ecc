"""Fill batches of photos, in memory or on disk. Decoding, filling and encoding overlap, and failures are isolated."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Literal

import numpy as np
from PIL import Image
from wavepaint.arguments import check_choice, check_type
from wavepaint.errors import ConfigError, ImageError, OutputError, PhotoAsMaskError, WavePaintError, printable
from wavepaint.machine import count_cores
from wavepaint.runtime.filling.memory import AHEAD
from wavepaint.runtime.filling.options import FillOptions, check_options, fit_hole
from wavepaint.runtime.images.decode import get_name
from wavepaint.runtime.images.encode import check_output, encode_photo, write_photo
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import Mask, read_photo
from wavepaint.runtime.inpainter import Inpainter, read_fitting_mask
from wavepaint.runtime.jobs import Job, JobResult
from wavepaint.runtime.pipeline import map_groups
from wavepaint.runtime.previews import write_pictures
from wavepaint.runtime.remarks import find_remarks

DecodedPair = tuple[Photo, Mask] | WavePaintError
Filled = Photo | WavePaintError
OnProgress = Callable[[str, float], object]

_NUM_CHECKED = 3
"""Masks that are decoded before the work of a batch, if the first one is a photograph."""

_OUT_OF_MEMORY = "out of memory. Close other programs, or scale the image down."


def check_masks(jobs: Sequence[Job], options: FillOptions) -> None:
    """Refuse a batch whose first masks are all photographs, as when photos and masks are swapped.

    Raises:
        ImageError: They are.
    """
    errors = []
    for job in jobs[:_NUM_CHECKED]:
        decoded = decode_pair(job.image, job.mask, options, lambda photo: None)
        if not isinstance(decoded, PhotoAsMaskError):
            return
        errors.append(decoded)
    if errors:
        raise ImageError(f"the first {len(errors)} of {len(jobs)} masks are photographs: {errors[0]}")


def fill_jobs(
    inpainter: Inpainter,
    jobs: Sequence[Job],
    *,
    options: FillOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_result: Callable[[JobResult], object] = lambda result: None,
    on_progress: OnProgress = lambda phase, share: None,
) -> Generator[JobResult, None, None]:
    """Fill photos in as many threads as the inpainter has streams, and a few more that decode and encode.

    A single photo is filled in the caller's thread, which Ctrl-C interrupts at once.

    Args:
        inpainter: The model.
        jobs: The photos to fill.
        options: How to fill them.
        overwrite: Replace existing results.
        resume: Skip jobs whose result exists.
        on_result: Called with each result as soon as it is on disk, even if the caller has stopped by then. It runs in
            one of the threads, where Ctrl-C does not interrupt it.
        on_progress: Called for a single photo, with the phase ("reading", "filling" or "writing") and the share of it
            that is done, 0 to 1.

    Yields:
        A result for each job, in order. Files appear complete or not at all, even if the caller stops early.
    """
    work = partial(
        _fill_group, inpainter, options or FillOptions(), overwrite=overwrite, resume=resume, on_result=on_result
    )
    if len(jobs) == 1:
        yield from work(list(jobs), on_progress=on_progress)
    else:
        yield from map_groups(work, jobs, workers=inpainter.streams + AHEAD, group_size=inpainter.max_batch)


def inpaint_many(
    pairs: Iterable[tuple[ImageSource, ImageSource]],
    inpainter: Inpainter | None = None,
    *,
    options: FillOptions | None = None,
    on_error: Literal["raise", "yield"] = "raise",
) -> Iterator[Image.Image | WavePaintError]:
    """Fill photos as they arrive, several at once, and yield the results in order.

    Args:
        pairs: Images and masks, as :meth:`wavepaint.runtime.inpainter.Inpainter.fill` takes them: an iterable, which
            may be endless. It is read a few pairs ahead.
        inpainter: The model; it fills as many photos at once as it has streams. None opens the model that ships with
            the package, with one stream per core, and closes it afterwards.
        options: How to fill all of them.
        on_error: "raise" stops at the first photo that cannot be filled; "yield" yields its error in its place.

    Yields:
        The results of :meth:`wavepaint.runtime.inpainter.Inpainter.fill`.

    Raises:
        WavePaintError: As :meth:`wavepaint.runtime.inpainter.Inpainter.fill`, with "raise".
    """
    check_type("inpainter", inpainter, (Inpainter, NoneType), "an Inpainter, or None for the model that ships")
    options = check_options(options)
    check_type("pairs", pairs, Iterable, "an iterable of (image, mask)")
    check_choice("on_error", on_error, ("raise", "yield"))
    if inpainter is None:
        with Inpainter(streams=count_cores()) as opened:
            yield from inpaint_many(pairs, opened, options=options, on_error=on_error)
        return
    work = partial(_inpaint_group, inpainter, options)
    for filled in map_groups(work, pairs, workers=inpainter.streams + AHEAD, group_size=inpainter.max_batch):
        if isinstance(filled, Photo):
            yield filled.to_pil()
        elif on_error == "raise":
            raise filled
        else:
            yield filled


def decode_pair(
    image: ImageSource, mask: ImageSource | None, options: FillOptions, check: Callable[[Photo], None]
) -> DecodedPair:
    """Return a photo that passes ``check``, and its mask; or the error."""
    try:
        if mask is None:
            raise ImageError(f"{printable(image)} has no mask. A mask has the photo's name, or that name and _mask.")
        photo = read_photo(image)
        check(photo)
        return photo, read_fitting_mask(mask, photo, options)
    except WavePaintError as error:
        return error
    except MemoryError:
        return ImageError(f"{get_name(image, 'image')} was not decoded: {_OUT_OF_MEMORY}")


def fill_pairs(
    inpainter: Inpainter,
    decoded: Sequence[DecodedPair],
    options: FillOptions,
    on_progress: OnProgress = lambda phase, share: None,
) -> list[Filled]:
    """Fill the photos that could be decoded; the errors of the others stay in their places."""
    photos = [(one[0], one[1].hole) for one in decoded if isinstance(one, tuple)]
    try:
        filled = iter(
            inpainter.fill_photos(photos, options, on_progress=lambda index, share: on_progress("filling", share))
        )
        return [next(filled) if isinstance(one, tuple) else one for one in decoded]
    except MemoryError:
        return [ImageError(f"{one[0].source}: {_OUT_OF_MEMORY}") if isinstance(one, tuple) else one for one in decoded]


def _inpaint_group(
    inpainter: Inpainter, options: FillOptions, pairs: list[tuple[ImageSource, ImageSource]]
) -> list[Filled]:
    # Photos that cannot be returned as PIL images are refused before they are filled.
    decoded = [decode_pair(*_check_pair(pair), options, Photo.check_pil) for pair in pairs]
    filled = fill_pairs(inpainter, decoded, options)
    for one, pair in zip(filled, pairs, strict=True):
        if isinstance(one, WavePaintError):
            one.args = (_name_files(one, *pair),)
    return filled


def _name_files(error: Exception, image: ImageSource, mask: ImageSource | None) -> str:
    """Return an error's message in a form that begins with the photo's path, and names the mask unless the photo fails.

    Sources in memory have no path.
    """
    message = str(error) or _OUT_OF_MEMORY
    if not isinstance(image, str | os.PathLike) or message.startswith((f"{printable(image)} ", f"{printable(image)}:")):
        return message
    if not isinstance(mask, str | os.PathLike) or message.startswith(f"{printable(mask)} "):
        return f"{printable(image)}: {message}"
    return f"{printable(image)} with {printable(mask)}: {message}"


def _check_pair(pair: tuple[ImageSource, ImageSource]) -> tuple[ImageSource, ImageSource]:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise ConfigError("an element of pairs is not a pair: expected (image, mask).")
    return pair


def _fill_group(
    inpainter: Inpainter,
    options: FillOptions,
    jobs: list[Job],
    *,
    overwrite: bool,
    resume: bool,
    on_result: Callable[[JobResult], object],
    on_progress: OnProgress = lambda phase, share: None,
) -> list[JobResult]:
    skipped = [JobResult(job=job, status="skipped") for job in jobs if resume and job.is_done]
    for result in skipped:
        on_result(result)
    results = {result.job: result for result in skipped}
    waiting = [job for job in jobs if job not in results]
    on_progress("reading", 0)
    decoded = [decode_pair(job.image, job.mask, options, partial(_check_output, job)) for job in waiting]
    on_progress("filling", 0)
    started = time.perf_counter()
    filled = fill_pairs(inpainter, decoded, options, on_progress)
    seconds = time.perf_counter() - started
    on_progress("writing", 0)
    for job, source, outcome in zip(waiting, decoded, filled, strict=True):
        results[job] = _write(job, source, outcome, seconds, options, overwrite)
        on_result(results[job])
    return [results[job] for job in jobs]


def _check_output(job: Job, photo: Photo) -> None:
    """Refuse a photo that the format of its result cannot store, before it is filled."""
    check_output(photo, job.out if isinstance(job.out, Path) else None)


def _write(
    job: Job, source: DecodedPair, filled: Filled, seconds: float, options: FillOptions, overwrite: bool
) -> JobResult:
    def fail(error: Exception) -> JobResult:
        return JobResult(job=job, status="failed", error=_name_files(error, job.image, job.mask))

    if isinstance(source, WavePaintError):
        return fail(source)
    if isinstance(filled, WavePaintError):
        return fail(filled)
    photo, mask = source
    try:
        holes = fit_hole(photo, mask.hole, options)
        hole = holes[1] if holes else np.zeros(photo.pixels.shape[:2], np.bool_)
        remarks = find_remarks(photo, mask, hole, options)
        # The result comes last: if it exists, so do the pictures, and --resume may skip the photo.
        if job.overlay is not None or job.comparison is not None:
            write_pictures(photo, hole, filled, job.overlay, job.comparison)
        _write_result(job, filled, overwrite)
    except (WavePaintError, MemoryError) as error:
        return fail(error)
    share = float(hole.mean())
    return JobResult(job=job, status="filled", size=photo.size, seconds=seconds, hole=share, remarks=remarks)


def _write_result(job: Job, filled: Photo, overwrite: bool) -> None:
    if isinstance(job.out, Path):
        write_photo(filled, job.out, overwrite=overwrite)
        return
    data = encode_photo(filled)
    try:
        job.out.write(data)
        job.out.flush()
    except BrokenPipeError:
        raise  # the reader stopped early, so the job did not fail
    except OSError as error:
        raise OutputError(f"the result cannot be written to standard output: {error.strerror or error}.") from error
