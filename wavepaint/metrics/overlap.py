"""How well predicted regions overlap those of the labels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Overlap(NamedTuple):
    """Overlap of the regions of C classes, 0 to 1; NaN where no pixel counts.

    Attributes:
        class_iou: (..., C), the intersection over union of each class.
        mean_iou: (...), its mean over the classes that are labelled or predicted.
        pixel_accuracy: (...), the share of the labelled pixels that have the right class.
    """

    class_iou: NDArray[np.float64]
    mean_iou: NDArray[np.float64]
    pixel_accuracy: NDArray[np.float64]


def measure_overlap(confusion: NDArray[Any]) -> Overlap:
    """Measure the overlap from (..., C, C) numbers of pixels by their label (rows) and their predicted class."""
    counts = np.asarray(confusion, np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(axis=-2) + counts.sum(axis=-1) - right
    class_iou = _divide(right, union)
    mean_iou = _divide(np.nansum(class_iou, axis=-1), (union > 0).sum(axis=-1))
    return Overlap(class_iou, mean_iou, _divide(right.sum(axis=-1), counts.sum(axis=(-2, -1))))


def _divide(part: NDArray[np.float64], whole: NDArray[Any]) -> NDArray[np.float64]:
    quotient = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=quotient, where=np.asarray(whole) > 0)
    return quotient
