"""Accuracy of classifiers and overlap of segmenters, with confidence intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.contract import CLASSIFICATION
from wavepaint.errors import ConfigError, ImageError
from wavepaint.evaluation.intervals import CONFIDENCE, RESAMPLES, estimate_from_sums, estimate_means
from wavepaint.evaluation.recognition.cases import LabelledCases
from wavepaint.evaluation.recognition.recognisers import Recogniser
from wavepaint.metrics.overlap import measure_overlap
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.recognition.segmenter import choose_classes
from wavepaint.training.recognition.label_maps import IGNORED

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a classifier takes an image for.

    Attributes:
        image: Name of the image.
        truth: Number of its class.
        predicted: Number of the most probable class.
        probability: That class's probability by the softmax, 0 to 1.
        rank: Place of the true class among all, from 1.
    """

    image: str
    truth: int
    predicted: int
    probability: float
    rank: int


@dataclass(frozen=True, kw_only=True)
class Regions:
    """What a segmenter finds in an image.

    Attributes:
        image: Name of the image.
        confusion: (C, C) numbers of pixels by their label (rows) and their predicted class.
    """

    image: str
    confusion: NDArray[np.int64]


def segment(recogniser: Recogniser, pixels_HW3: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the class of each pixel (H, W), as ``wp segment`` finds it."""
    logits, prepared = recogniser.run(Photo(pixels=pixels_HW3))
    return choose_classes(logits, prepared, pixels_HW3.shape[1::-1])


def recognise(
    cases: LabelledCases, recognisers: Sequence[Recogniser], on_case: Callable[[], object] = lambda: None
) -> dict[str, list[Answer | Regions]]:
    """Recognise all images with each recogniser, and return the results by its title.

    Raises:
        ConfigError: The recognisers do not have the same classes.
        WavePaintError: An image or its labels cannot be read, or an engine failed.
    """
    labels = recognisers[0].labels
    for other in recognisers[1:]:
        if other.labels != labels:
            raise ConfigError(
                f"{recognisers[0].title} has {len(labels)} classes and {other.title} has {len(other.labels)}, or they "
                "have other names: compare networks with the same classes."
            )
    found: dict[str, list[Answer | Regions]] = {one.title: [] for one in recognisers}
    for name in cases.names:
        pixels, truth = cases.load(name)
        for one in recognisers:
            if one.task is CLASSIFICATION:
                found[one.title].append(_rank(name, truth, one.run(Photo(pixels=pixels))[0]))
                continue
            counted = truth != IGNORED
            pairs = truth[counted].astype(np.int64) * len(labels) + segment(one, pixels)[counted]
            confusion = np.bincount(pairs, minlength=len(labels) ** 2).reshape(len(labels), -1)
            found[one.title].append(Regions(image=name, confusion=confusion))
        on_case()
    return found


def _rank(name: str, truth: int, logits_C: NDArray[np.float32]) -> Answer:
    shifted = logits_C.astype(np.float64) - logits_C.max()
    best = np.argsort(-logits_C, kind="stable")
    return Answer(
        image=name,
        truth=truth,
        predicted=int(best[0]),
        probability=float(1 / np.exp(shifted).sum()),
        rank=int(np.flatnonzero(best == truth)[0]) + 1,
    )


def summarise_classes(
    found: Mapping[str, Sequence[Answer | Regions]], labels: Sequence[str], *, seed: int
) -> dict[str, Any]:
    """Return everything that a report states, as plain values: shares from 0 to 1 with their intervals.

    Args:
        found: The results of one or two recognisers by title, each with the same images.
        labels: Names of the classes.
        seed: Seed of the intervals.
    """
    titles = list(found)
    is_classifier = isinstance(found[titles[0]][0], Answer)
    measure: Callable[..., dict[str, Any]] = _measure_answers if is_classifier else _measure_regions
    summary: dict[str, Any] = {
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "resampled": "images", "seed": seed},
        "results": {title: {"num_images": len(rows), **measure(rows, labels, seed)} for title, rows in found.items()},
    }
    if len(titles) == 2:
        scores = [np.array([_score(row) for row in found[title]]) for title in titles]
        difference = scores[0] - scores[1]
        images = [row.image for row in found[titles[0]]]
        summary["comparison"] = {
            "metric": "top1" if is_classifier else "pixel_accuracy",
            **estimate_means(difference[:, None], images, seed)[0]._asdict(),
            "share_won": float(((difference > 0) + 0.5 * (difference == 0)).mean()),
        }
    return summary


def _score(row: Answer | Regions) -> float:
    """Return the score by which two recognisers are compared image by image."""
    if isinstance(row, Answer):
        return float(row.rank == 1)
    return float(np.nan_to_num(measure_overlap(row.confusion).pixel_accuracy))


def _measure_answers(rows: Sequence[Answer], labels: Sequence[str], seed: int) -> dict[str, Any]:
    right = np.array([[row.rank == 1, row.rank <= TOP] for row in rows], np.float64)
    names = [row.image for row in rows]
    truths = np.array([row.truth for row in rows])
    top1, top5 = (one._asdict() for one in estimate_means(right, names, seed))
    classes = []
    for number in np.unique(truths).tolist():
        own = truths == number
        wrong = [row.predicted for row in rows if row.truth == number and row.rank > 1]
        values, counts = np.unique(wrong, return_counts=True)
        classes.append(
            {
                "name": labels[number],
                "num_images": int(own.sum()),
                "top1": float(right[own, 0].mean()),
                "taken_for": labels[int(values[counts.argmax()])] if wrong else None,
            }
        )
    return {"top1": top1, "top5": top5, "classes": classes}


def _measure_regions(rows: Sequence[Regions], labels: Sequence[str], seed: int) -> dict[str, Any]:
    confusions = np.stack([row.confusion.ravel() for row in rows])
    whole = confusions.sum(axis=0).reshape(len(labels), -1)
    if not whole.any():
        raise ImageError(f"no pixel of the {len(rows)} label maps has a class: all are {IGNORED}, which is ignored.")
    present = np.flatnonzero(whole.sum(axis=0) + whole.sum(axis=1)).tolist()

    def measure(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        overlap = measure_overlap(sums.reshape(-1, len(labels), len(labels)))
        return np.column_stack([overlap.mean_iou, overlap.pixel_accuracy, overlap.class_iou[:, present]])

    mean_iou, pixel_accuracy, *classes = (one._asdict() for one in estimate_from_sums(confusions, measure, seed))
    return {
        "mean_iou": mean_iou,
        "pixel_accuracy": pixel_accuracy,
        "classes": [
            {"name": labels[number], "num_pixels": int(whole[number].sum()), "iou": iou}
            for number, iou in zip(present, classes, strict=True)
        ],
    }
