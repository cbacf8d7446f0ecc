"""Filling many photographs: decoding, engine and encoding overlapped, bounded in memory, one bad file never the end."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import NoneType
from typing import Literal

from PIL import Image
from wavepaint.arguments import check_choice, check_type
from wavepaint.atomic import exists
from wavepaint.errors import ConfigError, ImageError, WavePaintError, printable
from wavepaint.machine import count_cores
from wavepaint.runtime.filling.memory import AHEAD
from wavepaint.runtime.filling.options import FillOptions, check_options
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.images.encode import write_photo
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job
from wavepaint.runtime.pipeline import map_groups
from wavepaint.runtime.previews import write_pictures

Status = Literal["filled", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What became of a job.

    Attributes:
        job: Which.
        status: "filled", "skipped" (its result was there already) or "failed".
        seconds: Of filling it, decoding and encoding left out, with the other photographs of the same call.
        hole: Share of the photograph, 0 to 1.
        error: Why it failed.
    """

    job: Job
    status: Status
    seconds: float = 0.0
    hole: float = 0.0
    error: str = ""


def fill_jobs(
    inpainter: Inpainter,
    jobs: Sequence[Job],
    *,
    options: FillOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_result: Callable[[JobResult], object] = lambda result: None,
) -> Generator[JobResult, None, None]:
    """Fill photographs in as many threads as the inpainter has streams, and some more that decode or encode.

    Args:
        inpainter: The model.
        jobs: What to fill.
        options: How.
        overwrite: Replace existing results.
        resume: Pass over jobs whose result exists.
        on_result: Called with each result as soon as it is on disk, in one of the threads, where no Ctrl-C interrupts
            it: also with those that are finished after the caller has stopped.

    Yields:
        A result for each job, in their order. Files appear whole or not at all, also where the caller stops early.
    """
    work = partial(
        _fill_group, inpainter, options or FillOptions(), overwrite=overwrite, resume=resume, on_result=on_result
    )
    return map_groups(work, jobs, workers=inpainter.streams + AHEAD, group=inpainter.max_batch)


def inpaint_many(
    pairs: Iterable[tuple[ImageSource, ImageSource]],
    inpainter: Inpainter | None = None,
    *,
    options: FillOptions | None = None,
    on_error: Literal["raise", "yield"] = "raise",
) -> Iterator[Image.Image | WavePaintError]:
    """Fill photographs as they come, several at once, and yield them in their order.

    Args:
        pairs: Images and masks, as :meth:`wavepaint.runtime.inpainter.Inpainter.fill` takes them: any iterable, also
            one without an end. It is read a few pairs ahead of what is taken.
        inpainter: The model; with several streams, so many photos are filled at once. None opens the one that ships
            with the package in as many streams as there are cores, and closes it in the end.
        options: How, the same for all.
        on_error: "raise" ends at the first photo that cannot be filled; "yield" hands out its error in its place.

    Yields:
        What :meth:`wavepaint.runtime.inpainter.Inpainter.fill` returns.

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
    for filled in map_groups(work, pairs, workers=inpainter.streams + AHEAD, group=inpainter.max_batch):
        if isinstance(filled, Photo):
            yield filled.to_pil()
        elif on_error == "raise":
            raise filled
        else:
            yield filled


Decoded = tuple[Photo, Bool] | WavePaintError
Filled = Photo | WavePaintError


def _decode(image: ImageSource, mask: ImageSource | None, options: FillOptions) -> Decoded:
    try:
        if mask is None:
            raise ImageError(f"{printable(image)} has no mask.")
        photo = read_photo(image)
        return photo, options.read_mask(mask, photo.size)
    except WavePaintError as error:
        return error
    except MemoryError:
        return ImageError("an image was not decoded: out of memory.")


def _fill_decoded(inpainter: Inpainter, decoded: Sequence[Decoded], options: FillOptions) -> list[Filled]:
    """Fill what could be decoded; the errors of the rest stay in their places."""
    try:
        filled = iter(inpainter.fill_photos([one for one in decoded if isinstance(one, tuple)], options))
        return [next(filled) if isinstance(one, tuple) else one for one in decoded]
    except MemoryError:
        return [ImageError("out of memory.") if isinstance(one, tuple) else one for one in decoded]


def _inpaint_group(
    inpainter: Inpainter, options: FillOptions, pairs: list[tuple[ImageSource, ImageSource]]
) -> list[Filled]:
    decoded = [_check_pil(_decode(*_check_pair(pair), options)) for pair in pairs]
    return _fill_decoded(inpainter, decoded, options)


def _check_pair(pair: tuple[ImageSource, ImageSource]) -> tuple[ImageSource, ImageSource]:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise ConfigError("an element of pairs is not a pair: expected (image, mask).")
    return pair


def _check_pil(decoded: Decoded) -> Decoded:
    """Return the error in place of a photo that could not be handed out after the work."""
    try:
        if isinstance(decoded, tuple):
            decoded[0].check_pil()
    except ImageError as error:
        return error
    return decoded


def _fill_group(
    inpainter: Inpainter,
    options: FillOptions,
    jobs: list[Job],
    *,
    overwrite: bool,
    resume: bool,
    on_result: Callable[[JobResult], object],
) -> list[JobResult]:
    todo = [job for job in jobs if not (resume and exists(job.out))]
    decoded = [_decode(job.image, job.mask, options) for job in todo]
    started = time.perf_counter()
    filled = _fill_decoded(inpainter, decoded, options)
    seconds = time.perf_counter() - started
    results = {job: JobResult(job=job, status="skipped") for job in jobs}
    for job in results.keys() - set(todo):
        on_result(results[job])
    for job, source, result in zip(todo, decoded, filled, strict=True):
        results[job] = _write(job, source, result, seconds, options, overwrite)
        on_result(results[job])
    return [results[job] for job in jobs]


def _write(
    job: Job, source: Decoded, filled: Filled, seconds: float, options: FillOptions, overwrite: bool
) -> JobResult:
    if isinstance(source, WavePaintError) or isinstance(filled, WavePaintError):
        return JobResult(job=job, status="failed", error=str(filled))
    photo, hole = source
    try:
        # The result comes last: where it is, the pictures are as well, and --resume may pass over the photo.
        if job.overlay is not None or job.comparison is not None:
            write_pictures(photo, hole, filled, options, job.overlay, job.comparison, overwrite=True)
        write_photo(filled, job.out, overwrite=overwrite)
    except (WavePaintError, MemoryError) as error:
        return JobResult(job=job, status="failed", error=str(error) or f"{printable(job.image)}: out of memory.")
    return JobResult(job=job, status="filled", seconds=seconds, hole=float(hole.mean()))
