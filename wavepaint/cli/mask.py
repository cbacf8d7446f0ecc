"""wp mask: draw the masks of photos without an editor."""

import shlex
import sys
from contextlib import closing
from pathlib import Path

import click
from click.core import ParameterSource

from wavepaint.cli.completion import complete_path, make_path, refuse_stream
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.interrupt import INTERRUPTED, INTERRUPTED_LINE
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.cli.progress import Progress
from wavepaint.errors import ImageError, printable
from wavepaint.runtime.filling.morphology import MAX_GROWTH
from wavepaint.runtime.jobs import Job, check_jobs
from wavepaint.runtime.masking.drawing import (
    COLOUR_GROWTH,
    MAX_SCRATCH_WIDTH,
    SCRATCH_GROWTH,
    SENSITIVITY,
    TOLERANCE,
    MaskOptions,
)
from wavepaint.runtime.masking.files import MaskResult, check_mask_name, find_mask_jobs, name_mask, write_masks
from wavepaint.runtime.masking.scratches import Polarity
from wavepaint.runtime.pairing import is_batch

MUCH = 0.75
"""Share of a photo from which a mask is probably a mistake."""


def _list_jobs(photo: str, out: Path | None, overlay: Path | None) -> list[Job]:
    if is_batch(photo):
        return find_mask_jobs(photo, out, overlay)
    if out is not None:
        check_mask_name(out)
    return [Job(Path(photo), None, out or name_mask(Path(photo)), overlay)]


def _make_next_command(photo: str, out: Path | None) -> str:
    """Return the command that fills the photos with the masks."""
    masks = out if out is not None or is_batch(photo) else name_mask(Path(photo))
    places = [photo, *([] if masks is None else [str(masks)])]
    # A name that begins with a dash would be an option.
    words = [f"./{place}" if place.startswith("-") else place for place in places]
    return shlex.join(["wp", "infer", *words, *(["-o", "filled"] if is_batch(photo) else [])])


def _describe(result: MaskResult) -> str:
    holes = "1 hole" if result.num_holes == 1 else f"{result.num_holes} holes"
    width, height = result.size
    return f"{printable(result.job.out)}: {holes}, {result.share:.2%} of {width}x{height} px"


def _summarise(results: list[MaskResult], num_jobs: int) -> str:
    """Summarise the results: in detail for one photo, as counts for a batch."""
    if num_jobs == len(results) == 1 and results[0].status == "written":
        return _describe(results[0])
    counts = {
        status: sum(result.status == status for result in results)
        for status in ("written", "empty", "skipped", "failed")
    }
    holes = sum(result.num_holes for result in results)
    words = {"written": f"with {holes} holes", "empty": "without a hole", "skipped": "skipped", "failed": "failed"}
    shown = ", ".join(f"{count} {words[status]}" for status, count in counts.items() if count)
    return f"{num_jobs} photos: {shown}"


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp mask scans/ -o masks/ --scratches", "Find the scratches in a folder of scans:"),
        (
            "wp mask marked.jpg --from-color magenta",
            "Mark what you painted over in magenta:",
        ),
        ("wp mask photo.jpg --rect 85%,92%,15%,8% --border 10", "Mark a date in the corner, and a frame of 10 pixels:"),
    ],
)
@click.argument("photo", shell_complete=complete_path, callback=refuse_stream)
@option_group(
    "Rectangles and frames",
    click.option(
        "--rect",
        "rectangles",
        multiple=True,
        metavar="X,Y,WIDTH,HEIGHT",
        help="A rectangle, from the left and top edge of the upright photo: in pixels, or in per cent as in "
        "10%,10%,20%,5%. May be repeated.",
    ),
    click.option(
        "--border",
        metavar="WIDTH",
        help="A frame along the edges, in pixels or per cent; or LEFT,TOP,RIGHT,BOTTOM.",
    ),
)
@option_group(
    "Paint",
    click.option(
        "--from-color",
        "--from-colour",
        "colours",
        multiple=True,
        metavar="COLOR",
        help="Everything painted in this colour: a name such as magenta, or '#ff00ff' in quotes. May be repeated.",
    ),
    click.option(
        "--tolerance",
        type=click.IntRange(0, 255),
        default=TOLERANCE,
        show_default=True,
        metavar="LEVELS",
        help="Largest difference from the colour in red, green and blue, of 255.",
    ),
)
@option_group(
    "Scratches",
    click.option(
        "--scratches",
        type=click.Choice(["bright", "dark", "both"]),
        is_flag=False,
        flag_value="both",
        help="Thin lines that are brighter or darker than what is beside them: scratches, hairs. Without a word after "
        "it: both.",
    ),
    click.option(
        "--sensitivity",
        type=click.IntRange(0, 100),
        default=SENSITIVITY,
        show_default=True,
        metavar="LEVEL",
        help="How faint a scratch may be. A higher level also finds more lines that belong to the picture.",
    ),
    click.option(
        "--scratch-width",
        type=click.IntRange(1, MAX_SCRATCH_WIDTH),
        metavar="PIXELS",
        help="Width of the widest scratches. Default: a 500th of the photo's longer side, at least 4.",
    ),
)
@option_group(
    "Result",
    click.option(
        "--dilate",
        type=click.IntRange(0, MAX_GROWTH),
        metavar="PIXELS",
        help=f"Grow the mask in every direction. Default: {COLOUR_GROWTH} around colours, {SCRATCH_GROWTH} around "
        "scratches, 0 around rectangles and borders.",
    ),
    click.option(
        "-o",
        "--out",
        metavar="PATH",
        shell_complete=complete_path,
        callback=refuse_stream,
        help="Mask file; for a batch, the folder of the masks. Default: beside PHOTO, with _mask.png in its name.",
    ),
    click.option(
        "--overlay",
        "--save-overlay",
        metavar="PATH",
        shell_complete=complete_path,
        callback=refuse_stream,
        help="Also write the photo with its hole tinted to this file, to check the mask; for a batch, to this folder, "
        "which may not lie among the photos.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace existing masks."),
    click.option("--resume", is_flag=True, help="Skip photos whose mask exists, to continue a batch."),
)
def command(
    photo: str,
    rectangles: tuple[str, ...],
    border: str | None,
    colours: tuple[str, ...],
    tolerance: int,
    scratches: Polarity | None,
    sensitivity: int,
    scratch_width: int | None,
    dilate: int | None,
    out: str | None,
    overlay: str | None,
    overwrite: bool,
    resume: bool,
) -> None:
    """Draw the mask of PHOTO for wp infer: white is the hole. All marks together form one mask.

    PHOTO may also be a folder or a pattern in quotes. Then every photo gets a mask, and a photo in which nothing is
    found gets an empty one, with which wp infer leaves it as it is. The exit status is 1 if any photo failed, or if
    nothing was found at all.

    To draw random masks for the evaluation of models, see wp masks.
    """
    silence_pillow()
    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume contradict each other.")
    if not (rectangles or border or colours or scratches):
        raise click.UsageError("Say what to mark: --rect, --border, --from-color or --scratches.")
    _check_sources(colours=bool(colours), scratches=bool(scratches))
    if not is_batch(photo) and not Path(photo).exists():
        raise ImageError(f"{printable(photo)} does not exist: expected a photo, a folder or a pattern in quotes.")
    options = MaskOptions(
        rectangles=[rectangle.split(",") for rectangle in rectangles],
        border=border.split(",") if border else (),
        colours=colours,
        tolerance=tolerance,
        scratches=scratches,
        sensitivity=sensitivity,
        scratch_width=scratch_width,
        dilate=dilate,
    )
    masks, overlays = (make_path(text, is_folder=is_batch(photo)) for text in (out, overlay))
    jobs = _list_jobs(photo, masks, overlays)
    check_jobs(jobs, [Path(photo)], overwrite=overwrite, resume=resume)
    sys.exit(_run(jobs, options, _make_next_command(photo, masks), overwrite=overwrite, resume=resume))


def _check_sources(*, colours: bool, scratches: bool) -> None:
    """Refuse options of a source that was not chosen."""
    context = click.get_current_context()
    owners = {"tolerance": ("--from-color", colours)} | dict.fromkeys(
        ("sensitivity", "scratch_width"), ("--scratches", scratches)
    )
    for name, (source, is_chosen) in owners.items():
        if not is_chosen and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} has an effect only with {source}.")


def _run(jobs: list[Job], options: MaskOptions, next_command: str, *, overwrite: bool, resume: bool) -> int:
    """Write all masks, show the progress and the summary, and return the exit status."""
    results: list[MaskResult] = []
    with (
        Progress(len(jobs), unit="photo") as progress,
        closing(write_masks(jobs, options, overwrite=overwrite, resume=resume)) as stream,
    ):
        try:
            for result in stream:
                results.append(result)
                progress.advance()
                if result.status == "failed":
                    progress.print_line(f"error: {result.reason}")
                if result.share >= MUCH:
                    progress.print_line(
                        f"warning: {printable(result.job.out)} covers {result.share:.0%} of the photo, and "
                        "little is left to fill from. Mark less, or look at it with --overlay."
                    )
        except KeyboardInterrupt:
            progress.close()
            click.echo(f"{INTERRUPTED_LINE}; continue with --resume.", err=True)
            return INTERRUPTED
    statuses = {result.status for result in results}
    if len(jobs) > 1 or "failed" not in statuses:
        click.echo(_summarise(results, len(jobs)), err=True)
    if statuses & {"written", "skipped"}:
        click.echo(f"next: {printable(next_command)}", err=True)
    elif "empty" in statuses:
        reason = next(result.reason for result in results if result.status == "empty")
        click.echo(f"error: every mask that was written is empty. {reason}", err=True)
    return 1 if "failed" in statuses or not statuses & {"written", "skipped"} else 0
