"""Jobs (photos to fill on disk), the checks before any work, the results, and the report."""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
from wavepaint.atomic import check_target, exists, write_file
from wavepaint.errors import OutputError, printable
from wavepaint.outputs import check_outputs
from wavepaint.runtime.images.encode import check_output
from wavepaint.runtime.images.photo import Photo

Status = Literal["filled", "skipped", "failed"]


@dataclass(frozen=True)
class Job:
    """A photo, its mask and the place of the result.

    Attributes:
        image: The photo: a path, or an encoded file's bytes.
        mask: The mask: a path, or an encoded file's bytes. None if none was found, which makes the job fail.
        out: The result: a path, or a binary stream.
        overlay: A picture of the photo with its hole tinted; see :mod:`wavepaint.runtime.previews`.
        comparison: A picture of photo, hole and result side by side.
    """

    image: Path | bytes
    mask: Path | bytes | None
    out: Path | IO[bytes]
    overlay: Path | None = None
    comparison: Path | None = None

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [source for source in (self.image, self.mask) if isinstance(source, Path)]

    @property
    def outputs(self) -> list[Path]:
        """The files that are written."""
        return [target for target in (self.out, self.overlay, self.comparison) if isinstance(target, Path)]

    @property
    def is_done(self) -> bool:
        """Whether the result exists."""
        return isinstance(self.out, Path) and exists(self.out)


@dataclass(frozen=True)
class Remark:
    """What a user should know about a result; see :mod:`wavepaint.runtime.remarks`.

    Attributes:
        text: A clause without capital and full stop.
        dilate: The value of ``dilate`` that would help, in pixels; 0 for none.
    """

    text: str
    dilate: int = 0

    def __str__(self) -> str:
        return f"{self.text}: try --dilate {self.dilate}" if self.dilate else self.text


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The outcome of a job.

    Attributes:
        job: The job.
        status: "filled", "skipped" (the result existed before) or "failed".
        size: Width and height of the photo in pixels; zeros if it was not filled.
        seconds: Time to fill it, without decoding and encoding, together with the other photos of the same call.
        hole: Share of the photo that was filled, 0 to 1; it includes what ``dilate`` added to the mask's hole.
        remarks: What the user should know about the mask.
        error: Why it failed, in one line that begins with the photo's path.
    """

    job: Job
    status: Status
    size: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    hole: float = 0.0
    remarks: tuple[Remark, ...] = ()
    error: str = ""


def check_jobs(
    jobs: Sequence[Job], inputs: Iterable[Path], report: Path | None = None, *, overwrite: bool, resume: bool
) -> None:
    """Refuse outputs that cannot be written, before any work is done.

    Args:
        jobs: The photos to fill.
        inputs: Other files and folders that are read.
        report: Where the report goes.
        overwrite: Replace existing files.
        resume: Skip jobs whose result exists, and replace the report of the earlier run.

    Raises:
        OutputError: A file exists, cannot be written, has the name of a folder or an unknown format, or is an input or
            another output.
    """
    written = [path for job in jobs for path in job.outputs]
    for path in written:
        if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for names that no file can have
            raise OutputError(f"cannot write {printable(path)}: it is a folder. Give a file name.")
    read = [path for job in jobs for path in job.inputs]
    check_outputs([*inputs, *read], written if report is None else [*written, report])
    existing = [path for path in written if exists(path)]
    if existing and not overwrite and not resume:
        what = f"{len(existing)} of {len(written)} results exist already, {printable(existing[0])} first"
        if len(written) == 1:
            what = f"{printable(existing[0])} exists already"
        raise OutputError(f"{what}. Pass --overwrite to replace results, or --resume to keep them.")
    for path in {path.parent: path for path in reversed(written)}.values():
        check_target(path, overwrite=True)
    any_photo = Photo(np.zeros((1, 1, 3), np.uint8))
    for path in {path.suffix: path for path in reversed(written)}.values():
        check_output(any_photo, path)
    if report is not None:
        check_target(report, overwrite or (resume and _is_report(report)))


def count_statuses(results: Iterable[JobResult]) -> dict[str, int]:
    """Return how many jobs were filled, skipped and failed."""
    counts: dict[str, int] = dict.fromkeys(get_args(Status), 0)
    for result in results:
        counts[result.status] += 1
    return counts


def summarise_remarks(results: Iterable[JobResult]) -> list[str]:
    """Return one sentence for each remark in a batch, with the number of photos that it is about."""
    found: dict[str, list[tuple[JobResult, Remark]]] = {}
    num_filled = 0
    for result in results:
        num_filled += result.status == "filled"
        for remark in result.remarks:
            found.setdefault(remark.text, []).append((result, remark))
    sentences = []
    for text, same in found.items():
        first = same[0][0].job.image
        remark = Remark(text, max(remark.dilate for _, remark in same))
        name = printable(first) if isinstance(first, Path) else "-"
        sentences.append(f"{len(same)} of {num_filled} photos: {remark} (first: {name})")
    return sentences


def write_report(
    path: Path, results: Sequence[JobResult], *, model: str, engine: str, seconds: float, interrupted: bool
) -> None:
    """Write the report of a run as JSON, and replace an earlier one.

    Raises:
        OutputError: It cannot be written.
    """
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "engine": engine,
        "seconds": round(seconds, 3),
        **count_statuses(results),
        "interrupted": interrupted,
        "images": [_make_row(result) for result in results],
    }
    with write_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def _make_row(result: JobResult) -> dict[str, object]:
    places = {field.name: getattr(result.job, field.name) for field in dataclasses.fields(Job)}
    return {
        **{name: str(place) if isinstance(place, Path) else "-" for name, place in places.items() if place is not None},
        "status": result.status,
        "seconds": round(result.seconds, 4),
        "hole": round(result.hole, 6),
        "remarks": [str(remark) for remark in result.remarks],
        "suggested_dilate": max((remark.dilate for remark in result.remarks), default=0),
        "error": result.error,
    }


def _is_report(path: Path) -> bool:
    """Return whether a file is the report of an earlier run."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"engine", "interrupted", "images"} <= content.keys()
