"""The most probable classes of a photo."""

from dataclasses import dataclass

import numpy as np
from wavepaint.arguments import check_int
from wavepaint.contract import CLASSIFICATION
from wavepaint.runtime.images.photo import ImageSource
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.recognition.class_model import ClassModel


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A class of a photo.

    Attributes:
        index: Number of the class, from 0.
        label: Its name.
        probability: By the network's softmax, 0 to 1.
    """

    index: int
    label: str
    probability: float


class Classifier(ClassModel):
    """Classify photos.

    Example::

        from wavepaint.runtime.recognition.classifier import Classifier

        with Classifier("bundles/pets") as classifier:
            print(classifier.classify("photo.jpg")[0].label)
    """

    task = CLASSIFICATION

    def classify(self, image: ImageSource, top: int = 5) -> list[Prediction]:
        """Return the most probable classes of a photo, the best first.

        Args:
            image: A path, an encoded file's bytes, a PIL image or an array. An EXIF orientation is applied.
            top: Number of classes; all if there are fewer.

        Raises:
            ImageError: See :func:`wavepaint.runtime.images.read.read_photo`.
            EngineError: The engine failed, or returned values that are not finite.
            ConfigError: ``top`` is less than 1.
        """
        check_int("top", top, 1, flag="--top")
        logits, _ = self.run(read_photo(image))
        shifted = logits.astype(np.float64) - logits.max()
        probabilities = np.exp(shifted) / np.exp(shifted).sum()
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [
            Prediction(index=int(index), label=self.labels[index], probability=float(probabilities[index]))
            for index in best
        ]
