"""What classifiers and segmenters share: prepare a photo, run the model."""

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import Preprocessing
from wavepaint.errors import BundleError
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.previews import as_rgb
from wavepaint.runtime.recognition.preparation import Prepared, prepare
from wavepaint.runtime.task_model import TaskModel


class ClassModel(TaskModel):
    """A model with classes."""

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        labels = self.bundle.manifest.labels
        assert labels is not None  # the parser checks it
        return labels

    @property
    def _preprocessing(self) -> Preprocessing:
        preprocessing = self.bundle.manifest.preprocessing
        assert preprocessing is not None  # the parser checks it
        return preprocessing

    def run(self, photo: Photo) -> tuple[NDArray[np.float32], Prepared]:
        """Return the logits of a photo, (classes, ...), and the input they come from.

        Transparent parts of the photo are put on white.

        Raises:
            EngineError: The engine failed, or the logits are not finite.
            BundleError: The model does not have one logit for each label.
        """
        manifest = self.bundle.manifest
        prepared = prepare(as_rgb(photo), self._preprocessing, manifest.size_multiple, manifest.padding)
        logits: NDArray[np.float32] = self._session.run(prepared.image)[0]
        if len(logits) != len(self.labels):
            raise BundleError(
                f"{self.bundle.folder} has {len(self.labels)} labels, and its model {len(logits)} classes. Export the "
                "checkpoint again."
            )
        self._require_finite(logits)
        return logits, prepared
