"""What recognises classes: a bundle in an engine, or a checkpoint in PyTorch."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.contract import CLASSIFICATION, MANIFEST_NAME, SEGMENTATION, Bundle, Task, get_task, read_bundle
from wavepaint.data.split import SPLIT
from wavepaint.errors import CheckpointError, ConfigError, printable
from wavepaint.evaluation.subjects import EngineChoice, describe_bundle, describe_checkpoint
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.previews import as_rgb
from wavepaint.runtime.recognition.class_model import ClassModel
from wavepaint.runtime.recognition.classifier import Classifier
from wavepaint.runtime.recognition.preparation import Prepared, prepare
from wavepaint.runtime.recognition.segmenter import Segmenter

if TYPE_CHECKING:
    from wavepaint.weights.checkpoint import Checkpoint

_MODELS: dict[str, type[ClassModel]] = {CLASSIFICATION.name: Classifier, SEGMENTATION.name: Segmenter}


class Recogniser(ABC):
    """Something that recognises classes.

    Attributes:
        title: Its name in reports.
        task: Classification or segmentation.
        labels: Names of its classes.
    """

    title: str
    task: Task
    labels: list[str]

    @abstractmethod
    def run(self, photo: Photo) -> tuple[NDArray[np.float32], Prepared]:
        """Return the logits of a photo, (classes, ...), and the input that they come from."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return kind, hash and versions, for reports."""

    def close(self) -> None:  # noqa: B027  a checkpoint has nothing to free
        """Free what it holds."""


class BundleRecogniser(Recogniser):
    """A bundle in an engine of the runtime."""

    def __init__(self, title: str, folder: Path, task: Task, choice: EngineChoice) -> None:
        self.title, self.task = title, task
        self._model = _MODELS[task.name](
            folder, engine=choice.engine, precision=choice.precision, threads=choice.threads
        )
        self.labels = self._model.labels

    def run(self, photo: Photo) -> tuple[NDArray[np.float32], Prepared]:
        return self._model.run(photo)

    def describe(self) -> dict[str, Any]:
        return describe_bundle(self._model.bundle, self._model.engine)

    def close(self) -> None:
        self._model.close()


class CheckpointRecogniser(Recogniser):
    """A checkpoint in PyTorch, in float32.

    Raises:
        CheckpointError: It does not say which classes it has, or how its images were prepared.
    """

    def __init__(self, title: str, checkpoint: "Checkpoint", choice: EngineChoice) -> None:
        import torch

        from wavepaint.export.classes import read_record
        from wavepaint.models.normalized_network import NormalizedNetwork

        labels, preprocessing = read_record(checkpoint)
        if labels is None or preprocessing is None:
            raise CheckpointError(
                f"{printable(title)} does not say which classes it has, and how its images were prepared: export it "
                "with wp export --labels and --preprocessing, and evaluate the bundle."
            )
        self.title, self.task, self.labels = title, get_task(checkpoint.architecture.task), list(labels)
        if choice.threads:
            torch.set_num_threads(choice.threads)
        network = checkpoint.build()
        self._preprocessing = preprocessing
        self._size_multiple, self._padding = network.size_multiple, network.padding
        self._graph = NormalizedNetwork(network, preprocessing).eval().to(choice.device)
        self._device, self._description = choice.device, describe_checkpoint(checkpoint, choice.device)

    def run(self, photo: Photo) -> tuple[NDArray[np.float32], Prepared]:
        import torch

        prepared = prepare(as_rgb(photo), self._preprocessing, self._size_multiple, self._padding)
        with torch.inference_mode():
            logits = self._graph(torch.from_numpy(prepared.image).to(self._device))
        return logits[0].cpu().numpy(), prepared

    def describe(self) -> dict[str, Any]:
        return self._description


def find_task(name: str) -> Task | None:
    """Return the task of a bundle, a checkpoint or a run; None if the path names none of them.

    Raises:
        WavePaintError: It cannot be read.
    """
    return _get_task(_read_network(Path(name)))


def open_recogniser(name: str, task: Task, choice: EngineChoice) -> Recogniser:
    """Open what a path names: a bundle, a run's folder or a checkpoint.

    Args:
        name: The path.
        task: The task it must have.
        choice: How it runs.

    Raises:
        WavePaintError: It cannot be read, or is for another task.
    """
    path = Path(name)
    network = _read_network(path)
    found = _get_task(network)
    if network is None or found is not task:
        what = f"a network for {found.name}" if found else "neither a bundle nor a checkpoint"
        raise ConfigError(f"{printable(path)} is {what}: expected a bundle, a checkpoint or a run for {task.name}.")
    if isinstance(network, Bundle):
        return BundleRecogniser(name, path, task, choice)
    return CheckpointRecogniser(name, network, choice)


def _read_network(path: Path) -> "Bundle | Checkpoint | None":
    if (path / MANIFEST_NAME).is_file():
        return read_bundle(path)
    if (path / SPLIT).is_file() or path.is_file():
        from wavepaint.training.run_folder import BEST
        from wavepaint.weights.checkpoint import read_checkpoint

        return read_checkpoint(path / BEST if path.is_dir() else path)
    return None


def _get_task(network: "Bundle | Checkpoint | None") -> Task | None:
    if network is None:
        return None
    if isinstance(network, Bundle):
        return network.task
    return get_task(network.architecture.task)
