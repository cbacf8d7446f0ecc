"""How many of sixteen everyday removals are worth keeping, by WavePaint and by OpenCV?

removal_tasks.json has the tasks: a photo, and the hole as a person drew it, in the photo's pixels. Every photo is
filled at its own size, by ONNX Runtime in float32. The report goes into a new folder: a page, a picture of each task, a
sheet of all, and verdicts.csv with a row for each fill.

A person judges: fill in the columns of verdicts.csv and run the script again with --verdicts. A verdict counts for the
pixels that were judged, so a new model needs new verdicts.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from wavepaint import Inpainter
from wavepaint.bench.classical import METHODS, Classical, Pixels
from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.picture_grid import make_grid, mark_hole

Hole = NDArray[np.bool_]
Method = Callable[[Pixels, Hole], Pixels]

TASKS = Path(__file__).with_suffix(".json")
MARGIN, SMALLEST_PANEL = 60, (320, 240)
"""Pixels that a picture shows around the hole, and its smallest width and height."""
THUMBNAIL = (300, 225)
COLUMNS = ("task", "method", "pixels", "verdict", "failure", "why")
HOW_TO_JUDGE = """\
Each hole was drawn by hand at the photo's own size, somewhat larger than the object. Each fill was judged by eye, at
that size and enlarged. A fill is kept if a stranger would not notice it at a glance. A failure is loud if it draws
attention (hard edges, copies, ghosts), and soft if it is a blur."""
PICTURES = """\
All on [one sheet](overview.jpg). In the picture of a task, the lower row shows a part of the upper one twice as large.
[verdicts.csv](verdicts.csv) names the pixels that were judged."""
LICENCES = "The pictures show parts of them, with holes filled. Each stays under its own licence."
CHOICES = {"verdict": ("", "kept", "failed"), "failure": ("", "loud", "soft")}


class Stroke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line with round ends; width and points in pixels."""

    width: int
    points: list[tuple[int, int]]


class RemovalTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A photo and what a person would remove from it."""

    name: str
    photo: str
    sha256: str
    origin: str
    licence: str
    remove: str
    size: str
    surroundings: str
    polygons: list[list[tuple[int, int]]] = []
    strokes: list[Stroke] = []


class Verdict(msgspec.Struct, frozen=True):
    """What a person thought of a fill: ``kept`` or ``failed``, ``loud`` or ``soft``, and a word why."""

    verdict: str = ""
    failure: str = ""
    why: str = ""

    def describe(self) -> str:
        if not self.verdict:
            return "not judged"
        return ", ".join(filter(None, (f"**{self.verdict}**", self.failure))) + (f": {self.why}" if self.why else "")


Verdicts = dict[tuple[str, str], Verdict]
"""By task and by the identifier of the filled pixels."""


def read_tasks() -> list[RemovalTask]:
    return msgspec.json.decode(TASKS.read_bytes(), type=list[RemovalTask])


def draw_hole(task: RemovalTask, size: tuple[int, int]) -> Hole:
    """Return (H, W), true in the hole, for a photo of this width and height."""
    mask = Image.new("1", size)
    draw = ImageDraw.Draw(mask)
    for polygon in task.polygons:
        draw.polygon(polygon, fill=1)
    for stroke in task.strokes:
        draw.line(stroke.points, fill=1, width=stroke.width, joint="curve")
        radius = stroke.width / 2
        for x, y in stroke.points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return np.asarray(mask)


def read_photo(task: RemovalTask, folders: Sequence[Path]) -> Pixels:
    """Return the task's photo (H, W, 3) from the folder that has it, byte for byte."""
    for path in (folder / task.photo for folder in folders):
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == task.sha256:
            return np.asarray(Image.open(path).convert("RGB"))
    raise click.ClickException(
        f"No folder has {task.photo} with the SHA-256 {task.sha256}. It is {task.origin}. Add the folder to PHOTOS."
    )


def open_opencv(name: str) -> Method:
    fill, _ = Classical(name).open()
    return lambda image, hole: fill(image[None], hole[None, ..., None].astype(np.uint8))[0]


def fill_with(inpainter: Inpainter, image: Pixels, hole: Hole) -> Pixels:
    return np.asarray(inpainter.fill(image, hole))


def identify(pixels: Pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:12]


def read_verdicts(path: Path) -> Verdicts:
    """Read the rows of a verdicts.csv that a person filled in."""
    verdicts = {}
    for number, row in enumerate(csv.DictReader(io.StringIO(path.read_text(), newline="")), 2):
        if tuple(row) != COLUMNS:
            raise click.BadParameter(f"{path} has not the columns {', '.join(COLUMNS)}", param_hint="--verdicts")
        for column, choices in CHOICES.items():
            if row[column] not in choices:
                raise click.BadParameter(
                    f"line {number}: {column} is {row[column]!r}, expected {' or '.join(filter(None, choices))}",
                    param_hint="--verdicts",
                )
        verdicts[row["task"], row["pixels"]] = Verdict(row["verdict"], row["failure"], row["why"])
    return verdicts


def find_window(hole: Hole, width: int, height: int) -> tuple[slice, slice]:
    """Return the rows and columns of the window that has most of the hole."""
    sums = np.pad(hole.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    best = np.argwhere(inside == inside.max())
    top, left = best[np.abs(best - best.mean(0)).sum(1).argmin()].tolist()  # the hole is in the middle if it is small
    return slice(top, top + height), slice(left, left + width)


def find_panel(hole: Hole) -> tuple[slice, slice]:
    """Return the rows and columns of the hole with its surroundings; both lengths are even."""
    panel = []
    for axis, smallest in ((1, SMALLEST_PANEL[1]), (0, SMALLEST_PANEL[0])):
        places = np.flatnonzero(hole.any(axis))
        length, size = hole.shape[1 - axis], min(max(int(np.ptp(places)) + 2 * MARGIN, smallest), hole.shape[1 - axis])
        start = min(max(int(places.min() + places.max() - size) // 2, 0), length - size)
        panel.append(slice(start, start + size // 2 * 2))
    return panel[0], panel[1]


def outline_hole(image: Pixels, hole: Hole) -> Pixels:
    """Return the image with a line around the hole."""
    grown = np.asarray(Image.fromarray(hole).convert("L").filter(ImageFilter.MaxFilter(5))) > 0
    return mark_hole(image, grown & ~hole)


def make_picture(images: Sequence[Pixels], hole: Hole, titles: Sequence[str]) -> Image.Image:
    """Return the images around the hole, and below at twice the size where most of the hole is."""
    panel = find_panel(hole)
    height, width = (part.stop - part.start for part in panel)
    window = find_window(hole[panel], width // 2, height // 2)
    shown = [image[panel] for image in images]
    enlarged = [np.asarray(Image.fromarray(one[window]).resize((width, height))) for one in shown]
    return make_grid([shown, enlarged], titles)


def make_thumbnails(name: str, images: Sequence[Pixels]) -> list[Pixels]:
    """Return the whole images, small and of one size, the first with the task's name."""
    small = [ImageOps.pad(Image.fromarray(image), THUMBNAIL, color="white") for image in images]
    draw = ImageDraw.Draw(small[0])
    draw.rectangle((0, 0, draw.textlength(name) + 6, 15), fill="white")
    draw.text((3, 2), name, fill="black")
    return [np.asarray(image) for image in small]


def count_kept(rows: Sequence[dict[str, Any]], method: str) -> str:
    judged = [row["verdict"].verdict for row in rows if row["method"] == method and row["verdict"].verdict]
    return f"{method}: {judged.count('kept')} of {len(judged)} kept" if judged else f"{method}: not judged"


def make_page(report: dict[str, Any], tasks: Sequence[RemovalTask], rows: Sequence[dict[str, Any]]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    machine = report["machine"]
    table = [["task", "remove", "hole", "surroundings", *methods]]
    for task in tasks:
        fills = {row["method"]: row for row in rows if row["task"] == task.name}
        share = next(iter(fills.values()))["hole_share"]
        verdicts = [fills[method]["verdict"].describe() for method in methods]
        link = f"[{task.name}]({name_picture(task)}.jpg)"
        table.append([link, task.remove, f"{task.size}, {share * 100:.1f} %", task.surroundings, *verdicts])
    origins = [["task", "photo", "licence"], *([task.name, task.origin, task.licence] for task in tasks)]
    models = [
        f"- {name}: {model['engine']}, model `{model['sha256'][:12]}`" for name, model in report["models"].items()
    ]
    run = (
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, OpenCV {report['opencv']}. "
        f"Command: `{report['command']}`"
    )
    kept = "; ".join(count_kept(rows, method) for method in methods)
    parts = ["# Removal tasks", run, "\n".join(models), HOW_TO_JUDGE, f"**{kept}.**"]
    parts += ["\n".join(make_markdown_table(table)), PICTURES, "## Origin of the photos", LICENCES]
    return "\n\n".join([*parts, "\n".join(make_markdown_table(origins))]) + "\n"


def name_picture(task: RemovalTask) -> str:
    return task.name.replace(" ", "-")


def write_verdicts(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in rows:
            known = msgspec.structs.asdict(row["verdict"])
            table.writerow({**{name: row[name] for name in ("task", "method", "pixels")}, **known})


@click.command(cls=OneLineErrors)
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="[NAME=]FOLDER",
    help="Bundle to judge; repeatable. Default: the one that ships with the package.",
)
@click.option(
    "--verdicts",
    "judged",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The verdicts.csv of an earlier report, filled in.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(photos: tuple[Path, ...], out: Path, bundles: tuple[str, ...], judged: Path | None, overwrite: bool) -> None:
    """Fill the holes of sixteen tasks whose photos are in PHOTOS: one or more folders."""
    tasks = read_tasks()
    verdicts = read_verdicts(judged) if judged else {}
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Image.Image] = {}
    thumbnails: list[list[Pixels]] = []
    with ExitStack() as stack:
        inpainters: dict[str, Inpainter] = {}
        for text in bundles or ("",):
            name, _, folder = text.rpartition("=")
            bundle = Path(folder) if folder else None
            inpainter = stack.enter_context(Inpainter(bundle, engine="ort-cpu", precision="float32"))
            inpainters[name or (inpainter.bundle.manifest.name if folder else "WavePaint")] = inpainter
        methods: dict[str, Method] = {name: partial(fill_with, inpainter) for name, inpainter in inpainters.items()}
        methods |= {f"OpenCV {name.title()}": open_opencv(name) for name in METHODS}
        for task in tasks:
            image = read_photo(task, photos)
            hole = draw_hole(task, (image.shape[1], image.shape[0]))
            hidden = np.where(hole[..., None], np.uint8(0), image)  # no method may see the original
            fills = {name: method(hidden, hole) for name, method in methods.items()}
            for name, pixels in fills.items():
                verdict = verdicts.get((task.name, identify(pixels)), Verdict())
                row = {"task": task.name, "method": name, "pixels": identify(pixels), "verdict": verdict}
                rows.append(row | {"hole_share": float(hole.mean())})
            shown = [outline_hole(image, hole), *fills.values()]
            pictures[name_picture(task)] = make_picture(shown, hole, ("photo", *fills))
            thumbnails.append(make_thumbnails(task.name, shown))
            print_line(f"{task.name}: done")
        models = {
            name: {"engine": one.engine, "sha256": one.bundle.manifest.files["model.onnx"]["sha256"]}
            for name, one in inpainters.items()
        }
    pictures["overview"] = make_grid(thumbnails, ("photo", *methods))
    run = {**describe_run("removal_tasks"), "opencv": cv2.__version__, "models": models}
    results = [{**row, "verdict": msgspec.structs.asdict(row["verdict"])} for row in rows]
    page = make_page(run, tasks, rows)
    write_report(out, "removal-tasks", {**run, "results": results}, page, overwrite=overwrite, pictures=pictures)
    write_verdicts(out / "verdicts.csv", rows)
    click.echo(page)


if __name__ == "__main__":
    main()
