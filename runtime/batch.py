"""Filling many photographs: decoding, engine and encoding overlapped, bounded in memory, one bad file never the end."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ImageError, WavePaintError
from wavepaint.runtime.image import MaskFrom, Photo, read_mask, read_photo, write_photo
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job

DECODERS, ENCODERS = 2, 2
AHEAD = 3
"""Photographs that wait between two stages at most: what bounds the memory."""

Status = Literal["filled", "skipped", "failed"]
Decoded = tuple[Photo, NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How masks are read; see :meth:`wavepaint.runtime.inpainter.Inpainter.fill`."""

    invert: bool = False
    threshold: int = MASK_THRESHOLD
    mask_from: MaskFrom = "luminance"
    resize: bool = False


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What became of a job.

    Attributes:
        job: Which.
        status: "filled", "skipped" (its result was there already) or "failed".
        seconds: In the engine.
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
    masks: MaskOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Iterator[JobResult]:
    """Fill photographs one after another while the next are decoded and the former encoded.

    Args:
        inpainter: The model.
        jobs: What to fill.
        masks: How masks are read.
        overwrite: Replace existing results.
        resume: Pass over jobs whose result exists.

    Yields:
        A result for each job, in their order. Files appear whole or not at all, also where the caller stops early.
    """
    masks = masks or MaskOptions()
    with ExitStack() as stack:
        decoders = stack.enter_context(ThreadPoolExecutor(DECODERS, "decode"))
        encoders = stack.enter_context(ThreadPoolExecutor(ENCODERS, "encode"))
        for pool in (decoders, encoders):
            # Left early, what has not begun is dropped and what has is finished.
            stack.callback(partial(pool.shutdown, wait=True, cancel_futures=True))
        waiting, decoding = iter(jobs), deque[tuple[Job, Future[Decoded] | None]]()
        encoding = deque[tuple[JobResult, Future[None] | None]]()

        def decode_next() -> None:
            job = next(waiting, None)
            if job is not None:
                skip = resume and job.out.exists()
                decoding.append((job, None if skip else decoders.submit(_decode, job, masks)))

        for _ in range(AHEAD):
            decode_next()
        while decoding:
            job, decoded = decoding.popleft()
            decode_next()
            if decoded is None:
                encoding.append((JobResult(job=job, status="skipped"), None))
            else:
                encoding.append(_fill(inpainter, job, decoded, masks, encoders, overwrite))
            while encoding and (len(encoding) > AHEAD or _is_done(encoding[0][1])):
                yield _finish(*encoding.popleft())
        while encoding:
            yield _finish(*encoding.popleft())


def _decode(job: Job, masks: MaskOptions) -> Decoded:
    if job.mask is None:
        raise ImageError(f"{job.image} has no mask.")
    hole = read_mask(job.mask, invert=masks.invert, threshold=masks.threshold, mask_from=masks.mask_from)
    return read_photo(job.image), hole


def _fill(
    inpainter: Inpainter,
    job: Job,
    decoded: Future[Decoded],
    masks: MaskOptions,
    encoders: ThreadPoolExecutor,
    overwrite: bool,
) -> tuple[JobResult, Future[None] | None]:
    try:
        photo, hole = decoded.result()
        started = time.perf_counter()
        filled = inpainter.fill_photo(photo, hole, resize_mask=masks.resize, opaque_hole=masks.mask_from == "alpha")
        seconds = time.perf_counter() - started
    except (WavePaintError, MemoryError) as error:
        return _failed(job, error), None
    result = JobResult(job=job, status="filled", seconds=seconds, hole=float(hole.mean()))
    return result, encoders.submit(write_photo, filled, job.out, overwrite=overwrite)


def _is_done(encoded: Future[None] | None) -> bool:
    return encoded is None or encoded.done()


def _finish(result: JobResult, encoded: Future[None] | None) -> JobResult:
    try:
        if encoded is not None:
            encoded.result()
    except (WavePaintError, MemoryError) as error:
        return _failed(result.job, error)
    return result


def _failed(job: Job, error: BaseException) -> JobResult:
    return JobResult(job=job, status="failed", error=str(error) or "out of memory")
