"""Tables for the terminal, and the folder of a report on a classifier or a segmenter."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wavepaint.atomic import write_folder
from wavepaint.errors import printable
from wavepaint.evaluation.recognition.cases import LabelledCases, shrink
from wavepaint.evaluation.recognition.measure import TOP, Answer, Regions, segment
from wavepaint.evaluation.recognition.recognisers import Recogniser
from wavepaint.evaluation.report_folder import RECORD
from wavepaint.metrics.overlap import measure_overlap
from wavepaint.training.recognition.class_pictures import NUM_TILES, Guess, draw_guesses, draw_label_maps

TABLE = "images.csv"
_MOST_CLASSES = 20
"""Classes in a table, the worst first."""
_SIDE = 192
"""Pixels of an image in a picture."""

Row = tuple[str, ...]


def make_class_tables(summary: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    """Yield title and rows, the header first, of each table of a summary (:func:`.summarise_classes`)."""
    for title, one in summary["results"].items():
        names = [name for name in ("top1", "top5", "mean_iou", "pixel_accuracy") if name in one]
        yield title, [("images", *map(_name, names)), (str(one["num_images"]), *(_format(one[name]) for name in names))]
        yield f"{title}, its classes, the worst first", _list_classes(one["classes"])
    if "comparison" in summary:
        compared, (first, second) = summary["comparison"], summary["results"]
        header = ("", "difference", "images won")
        row = (_name(compared["metric"]), _format(compared, "+"), f"{compared['share_won']:.0%}")
        yield f"{first} minus {second}", [header, row]


def _list_classes(classes: Sequence[Mapping[str, Any]]) -> list[Row]:
    rows: list[Row]
    if "top1" in classes[0]:
        rows = [
            (printable(one["name"]), str(one["num_images"]), f"{one['top1']:.1%}", printable(one["taken_for"] or ""))
            for one in sorted(classes, key=lambda one: one["top1"])
        ]
        header: Row = ("class", "images", "top-1", "most often taken for")
    else:
        rows = [
            (printable(one["name"]), f"{one['num_pixels']:,}", _format(one["iou"]))
            for one in sorted(classes, key=lambda one: one["iou"]["mean"])
        ]
        header = ("class", "pixels", "IoU")
    more = [("...", str(len(rows) - _MOST_CLASSES), *[""] * (len(header) - 2))] if len(rows) > _MOST_CLASSES else []
    return [header, *rows[:_MOST_CLASSES], *more]


def _name(metric: str) -> str:
    names = {"top1": "top-1", "top5": f"top-{TOP}", "mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
    return names[metric]


def _format(estimate: Mapping[str, Any], sign: str = "") -> str:
    mean, low, high = (estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:{sign}.1%}" + ("" if low is None else f" [{low:{sign}.1%}, {high:{sign}.1%}]")


def write_recognition_report(
    out: Path,
    report: dict[str, Any],
    found: Mapping[str, Sequence[Answer | Regions]],
    cases: LabelledCases,
    recogniser: Recogniser,
    *,
    overwrite: bool,
) -> None:
    """Write the folder, all of it or nothing: eval.json, images.csv, and a picture of the first recogniser's results.

    Raises:
        OutputError: It exists, unless ``overwrite``, or cannot be written.
        WavePaintError: An image of the picture cannot be read or recognised again.
    """
    labels = recogniser.labels
    with write_folder(out, overwrite=overwrite) as folder:
        (folder / RECORD).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        _write_table(folder / TABLE, found, labels)
        answers = [row for row in found[recogniser.title] if isinstance(row, Answer)]
        regions = [row for row in found[recogniser.title] if isinstance(row, Regions)]
        mistakes = sorted((row for row in answers if row.rank > 1), key=lambda row: -row.probability)[:NUM_TILES]
        if mistakes:
            _draw_mistakes(mistakes, cases, labels).save(folder / "mistakes.png")
        if regions:
            _draw_cases(regions, cases, recogniser).save(folder / "cases.png")


def _write_table(path: Path, found: Mapping[str, Sequence[Answer | Regions]], labels: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        is_classifier = isinstance(next(iter(found.values()))[0], Answer)
        columns = ("class", "predicted", "probability", "rank") if is_classifier else ("mean_iou", "pixel_accuracy")
        writer.writerow(["subject", "image", *columns])
        for title, rows in found.items():
            for row in rows:
                values: tuple[object, ...]
                if isinstance(row, Answer):
                    values = (printable(labels[row.truth]), printable(labels[row.predicted]), row.probability, row.rank)
                else:
                    overlap = measure_overlap(row.confusion)
                    values = (overlap.mean_iou, overlap.pixel_accuracy)
                writer.writerow([printable(title), printable(row.image), *values])


def _draw_mistakes(mistakes: Sequence[Answer], cases: LabelledCases, labels: Sequence[str]) -> Image.Image:
    """Draw the mistakes of a classifier, the most confident first."""
    guesses = [Guess(labels[row.predicted], row.probability, labels[row.truth]) for row in mistakes]
    return draw_guesses([shrink(cases.load(row.image)[0], _SIDE) for row in mistakes], guesses)


def _draw_cases(rows: Sequence[Regions], cases: LabelledCases, recogniser: Recogniser) -> Image.Image:
    """Draw the images with the best, the median and the worst pixel accuracy, in this order."""
    ranked = sorted(rows, key=lambda row: -float(np.nan_to_num(measure_overlap(row.confusion).pixel_accuracy)))
    drawn = []
    for index in sorted({0, len(ranked) // 2, len(ranked) - 1}):
        pixels, labels = cases.load(ranked[index].image)
        found = segment(recogniser, pixels).astype(np.uint8)
        near = Image.Resampling.NEAREST
        drawn.append((shrink(pixels, _SIDE), shrink(labels, _SIDE, near), shrink(found, _SIDE, near)))
    return draw_label_maps(drawn)
