"""The folder of a report: eval.json, fills.csv, and a picture of the best, median and worst fills of each set."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wavepaint.atomic import check_target, write_folder
from wavepaint.data.split import SPLIT
from wavepaint.data.validation_set import Pixels
from wavepaint.errors import OutputError, printable
from wavepaint.evaluation.evaluate import Evaluation
from wavepaint.evaluation.fill_metrics import METRICS
from wavepaint.evaluation.photo_cases import Cases
from wavepaint.evaluation.subjects import Subject
from wavepaint.evaluation.summary import list_measured
from wavepaint.outputs import check_outputs
from wavepaint.picture_grid import make_grid, mark_hole

RECORD, TABLE = "eval.json", "fills.csv"
MAX_SIDE = 512
"""Pixels of the longer side to which larger photos are scaled in pictures."""
_CHARACTER_WIDTH = 7
"""Pixels of a character of a title, at most."""


def check_report(out: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, before any work.

    Raises:
        OutputError: The folder exists, unless ``overwrite`` is true and it is an earlier report; or it is, contains or
            lies in an input.
    """
    folders = [path for path in inputs if path.exists()]
    check_outputs(folders, [out])
    for folder in folders:
        is_run = (folder / SPLIT).is_file()  # a report may lie in the folder of its run
        if not is_run and out.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f"{printable(out)} lies in {printable(folder)}, which is read: choose another (-o).")
    check_target(out, overwrite)
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise OutputError(f"{printable(out)} is not a report, because it has no {RECORD}: choose another folder (-o).")


def write_report_folder(
    out: Path,
    report: dict[str, Any],
    evaluation: Evaluation,
    cases: Cases,
    subjects: Sequence[Subject],
    *,
    overwrite: bool,
) -> None:
    """Write the folder, all of it or nothing.

    Raises:
        OutputError: It exists, unless ``overwrite``, or cannot be written.
        WavePaintError: A case of a picture cannot be filled again.
    """
    with write_folder(out, overwrite=overwrite) as folder:
        (folder / RECORD).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        _write_table(folder / TABLE, evaluation)
        for name, picture in draw_cases(evaluation, cases, subjects):
            picture.save(folder / f"{name}.png")


def _write_table(path: Path, evaluation: Evaluation) -> None:
    """Write a row for each fill."""
    metrics = list_measured(evaluation)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["subject", "set", "photo", "mask", "hole_share", *metrics])
        for title, fills in evaluation.fills.items():
            for fill in fills:
                scores = asdict(fill.scores)
                names = map(printable, (title, fill.key.set_name, fill.key.photo, fill.key.mask))
                writer.writerow([*names, fill.hole_share, *(scores[metric] for metric in metrics)])


def draw_cases(evaluation: Evaluation, cases: Cases, subjects: Sequence[Subject]) -> Iterator[tuple[str, Image.Image]]:
    """Yield the name of each set and a picture of the first subject's best, median and worst fill: photo, hole, fills.

    They are ranked by LPIPS in the hole, or by L1 if LPIPS was not measured.
    """
    fills = evaluation.fills[subjects[0].title]
    metric = "lpips_hole" if "lpips_hole" in list_measured(evaluation) else "l1_hole"
    for set_name in dict.fromkeys(fill.key.set_name for fill in fills):
        ranked = sorted(
            (fill for fill in fills if fill.key.set_name == set_name), key=lambda fill: getattr(fill.scores, metric)
        )
        places = {0: "best", (len(ranked) - 1) // 2: "median", len(ranked) - 1: "worst"}
        places[0] = "best"
        rows, titles = [], []
        for place, word in sorted(places.items()):
            fill = ranked[place]
            case = cases.load(fill.key)
            rows.append([case.photo, mark_hole(case.photo, case.mask), *(one.fill(fill.key, case) for one in subjects)])
            value = format(getattr(fill.scores, metric), METRICS[metric].form)
            titles.append(_make_ascii(f"{word}: {fill.key.mask or fill.key.photo}, {METRICS[metric].title} {value}"))
        rows = _fit_cells(rows)
        width = rows[0][0].shape[1] // _CHARACTER_WIDTH
        columns = ["photo", "hole", *(_make_ascii(subject.title)[-width:] for subject in subjects)]
        yield set_name, make_grid(rows, columns, row_titles=titles)


def _make_ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _fit_cells(rows: Sequence[Sequence[Pixels]]) -> list[list[Pixels]]:
    """Return the images in cells of one size, large ones scaled down, on white."""
    images = [[Image.fromarray(image) for image in row] for row in rows]
    for row in images:
        for image in row:
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    size = max(image.width for row in images for image in row), max(image.height for row in images for image in row)
    cells: list[list[Pixels]] = []
    for row in images:
        cells.append([])
        for image in row:
            cell = Image.new("RGB", size, (255, 255, 255))
            cell.paste(image)
            cells[-1].append(np.asarray(cell))
    return cells
