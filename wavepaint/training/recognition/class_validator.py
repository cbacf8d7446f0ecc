"""Validation of classifiers and segmenters: accuracy, and the overlap of regions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from wavepaint.contract import Preprocessing
from wavepaint.data.validation_set import Pixels
from wavepaint.metrics.overlap import measure_overlap
from wavepaint.models.normalized_network import NormalizedNetwork
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.measures import Metrics
from wavepaint.training.recognition.class_pictures import (
    NUM_SEGMENTED,
    NUM_TILES,
    Guess,
    draw_guesses,
    draw_label_maps,
)
from wavepaint.training.recognition.class_step import fit_logits
from wavepaint.training.recognition.label_maps import IGNORED
from wavepaint.training.recognition.labelled_data import pick_evenly

TOP = 5


@dataclass(frozen=True, kw_only=True)
class ClassMetrics(Metrics):
    """Shares of the validation images, 0 to 1.

    Attributes:
        top1: Images whose class is the most probable one.
        top5: Images whose class is among the five most probable ones.
    """

    top1: float
    top5: float

    def describe(self) -> str:
        return f"top-1 {self.top1:.1%}, top-5 {self.top5:.1%}"


@dataclass(frozen=True, kw_only=True)
class SegmentMetrics(Metrics):
    """How well the predicted regions of all validation images overlap those of the labels, 0 to 1.

    Attributes:
        mean_iou: Mean over the classes of intersection over union. Classes that are neither labelled nor predicted do
            not count.
        pixel_accuracy: Share of the labelled pixels that have the right class.
        class_iou: Intersection over union of each class by its name.
    """

    mean_iou: float
    pixel_accuracy: float
    class_iou: Mapping[str, float]

    def describe(self) -> str:
        return f"mean IoU {self.mean_iou:.1%}, pixel accuracy {self.pixel_accuracy:.1%}"


class _ClassValidator:
    """The validation images of a run with classes, divided among its processes.

    Args:
        images: The images (S, S, 3) with their labels; the same list in every process.
        labels: Names of the classes.
        preprocessing: The normalisation.
        device: The device of the network.
        context: The processes of the run.
    """

    batch_size: int

    def __init__(
        self,
        images: Sequence[tuple[Pixels, Any]],
        labels: Sequence[str],
        preprocessing: Preprocessing,
        device: torch.device,
        context: DistributedContext,
    ) -> None:
        self._images, self._labels = images, labels
        self._preprocessing = preprocessing
        self._device, self._context = device, context

    @torch.inference_mode()
    def _predict(self, model: nn.Module, images: Sequence[tuple[Pixels, Any]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the logits of each batch, and its labels."""
        graph = NormalizedNetwork(model.eval(), self._preprocessing).to(self._device)
        for first in range(0, len(images), self.batch_size):
            batch = images[first : first + self.batch_size]
            pixels = torch.from_numpy(np.stack([image for image, _ in batch])).to(self._device).permute(0, 3, 1, 2)
            target = torch.from_numpy(np.stack([label for _, label in batch])).to(self._device)
            yield fit_logits(graph(pixels.float() / 255), target), target

    def _add_up(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of counts over all processes."""
        total: NDArray[np.int64] = np.sum(self._context.gather(values), axis=0)
        return total

    @property
    def _own(self) -> Sequence[tuple[Pixels, Any]]:
        return self._images[self._context.rank :: self._context.size]


class ClassifierValidator(_ClassValidator):
    """Validation of a classifier; see the base class for its arguments."""

    metrics = ClassMetrics
    batch_size = 16

    def measure(self, model: nn.Module) -> ClassMetrics:
        """Measure a network in float32. Every process returns the same metrics."""
        counts = np.zeros(3, np.int64)
        for logits, target in self._predict(model, self._own):
            best = logits.topk(min(TOP, logits.shape[1])).indices == target[:, None]
            counts += [len(target), int(best[:, 0].sum()), int(best.any(dim=1).sum())]
        count, top1, top5 = self._add_up(counts).tolist()
        return ClassMetrics(top1=top1 / count, top5=top5 / count)

    def draw(self, model: nn.Module) -> Image.Image:
        """Return a picture of some validation images with their predicted classes."""
        chosen = pick_evenly(self._images, NUM_TILES)
        guesses = []
        for logits, target in self._predict(model, chosen):
            for row, label in zip(logits.softmax(dim=1), target.tolist(), strict=True):
                best = int(row.argmax())
                guesses.append(Guess(self._labels[best], float(row[best]), self._labels[label]))
        return draw_guesses([image for image, _ in chosen], guesses)

    def draw_example(self) -> Image.Image:
        """Return a picture as large as those to come."""
        chosen = pick_evenly(self._images, NUM_TILES)
        return draw_guesses(
            [image for image, _ in chosen], [Guess(self._labels[n], 1.0, self._labels[n]) for _, n in chosen]
        )


class SegmenterValidator(_ClassValidator):
    """Validation of a segmenter, at the size of the network's input; see the base class for its arguments."""

    metrics = SegmentMetrics
    batch_size = 2

    def measure(self, model: nn.Module) -> SegmentMetrics:
        """Measure a network in float32. Every process returns the same metrics, NaN if no pixel has a label."""
        num_classes = len(self._labels)
        confusion = np.zeros((num_classes, num_classes), np.int64)
        for logits, target in self._predict(model, self._own):
            counted = target != IGNORED
            pairs = target[counted].long() * num_classes + logits.argmax(dim=1)[counted]
            confusion += torch.bincount(pairs, minlength=num_classes**2).cpu().numpy().reshape(confusion.shape)
        return _compare_regions(self._add_up(confusion), self._labels)

    def draw(self, model: nn.Module) -> Image.Image:
        """Return a picture of some validation images with their labels and their predicted classes."""
        chosen = pick_evenly(self._images, NUM_SEGMENTED)
        predicted = [
            classes for logits, _ in self._predict(model, chosen) for classes in logits.argmax(dim=1).cpu().numpy()
        ]
        return draw_label_maps([(*pair, classes) for pair, classes in zip(chosen, predicted, strict=True)])

    def draw_example(self) -> Image.Image:
        """Return a picture as large as those to come."""
        return draw_label_maps([(image, labels, labels) for image, labels in pick_evenly(self._images, NUM_SEGMENTED)])


def _compare_regions(confusion: NDArray[np.int64], labels: Sequence[str]) -> SegmentMetrics:
    """Return the metrics of a confusion matrix: pixels by their label (rows) and their predicted class (columns)."""
    overlap = measure_overlap(confusion)
    return SegmentMetrics(
        mean_iou=float(overlap.mean_iou),
        pixel_accuracy=float(overlap.pixel_accuracy),
        class_iou={labels[n]: float(iou) for n, iou in enumerate(overlap.class_iou) if np.isfinite(iou)},
    )
