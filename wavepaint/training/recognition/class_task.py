"""Classification and segmentation as tasks of a run."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wavepaint.contract import CLASSIFICATION, MAX_LABEL_LENGTH, SEGMENTATION
from wavepaint.errors import ConfigError, TrainingError, printable
from wavepaint.training.config import ClassTrainConfig, RunConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.network_step import NetworkStep
from wavepaint.training.recognition.class_folders import ClassFolders
from wavepaint.training.recognition.class_step import ClassStep
from wavepaint.training.recognition.class_validator import ClassifierValidator, SegmenterValidator
from wavepaint.training.recognition.label_folders import LabelFolders
from wavepaint.training.recognition.labelled_data import LabelledData, choose_preprocessing
from wavepaint.training.run_data import RunData
from wavepaint.training.run_task import RunTask, RunValidator
from wavepaint.training.schedule import Schedule


class _ClassTask(RunTask):
    """What classification and segmentation have in common.

    Args:
        config: The configuration. Its number of classes, if it has one, must be that of the data.
        labels: Names of the classes, in the order of their numbers; None takes those of the data.
    """

    data: Any

    def __init__(self, config: ClassTrainConfig, labels: Sequence[str] | None) -> None:
        self._config = config
        self._given = labels
        self.preprocessing = choose_preprocessing(config)

    def load_weights(self, device: torch.device, path: Path | None, *, download: bool) -> None:
        if path is not None or download:
            raise ConfigError(
                f"--task {self._config.task} has no loss that needs weights: leave --lpips-weights and "
                "--download-weights out."
            )

    def open_data(self, data: Path, val_data: Path | None) -> RunData:
        self.data = opened = self._open(data, val_data)
        found = len(opened.class_names)
        wanted = self._config.hyper_parameters.get("num_classes", found)
        if wanted != found:
            raise ConfigError(
                f"num_classes is {wanted}, and {data} has {found} classes: leave --hyper-parameter num_classes out."
            )
        if self._given is not None and len(self._given) != found:
            raise ConfigError(
                f"there are {len(self._given)} labels, and {data} has {found} classes: expected a line for each, in "
                "the order of the classes (--labels)."
            )
        self.labels = tuple(self._given or opened.class_names)
        for label in self.labels:
            if len(label) > MAX_LABEL_LENGTH or not label.isprintable():
                raise TrainingError(
                    f"{printable(label)} cannot be the name of a class: expected printable text of at most "
                    f"{MAX_LABEL_LENGTH} characters. Rename the folder, or name the classes with --labels."
                )
        return opened

    @abstractmethod
    def _open(self, data: Path, val_data: Path | None) -> LabelledData:
        """Open the data."""

    def complete(self, config: RunConfig) -> RunConfig:
        return config.change({"hyper_parameters": {"num_classes": len(self.labels)}})

    def make_step(
        self,
        model: nn.Module,
        schedule: Schedule,
        context: DistributedContext,
        device: torch.device,
        autocast_dtype: torch.dtype | None,
    ) -> NetworkStep:
        return ClassStep(
            self._config,
            model,
            schedule,
            context,
            device,
            autocast_dtype=autocast_dtype,
            preprocessing=self.preprocessing,
        )

    def describe(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "preprocessing": asdict(self.preprocessing)}

    def restore(self, training: dict[str, Any]) -> None:
        self.labels = tuple(training["labels"])


class ClassificationTask(_ClassTask):
    """Naming the class of an image."""

    task = CLASSIFICATION
    data: ClassFolders

    def _open(self, data: Path, val_data: Path | None) -> LabelledData:
        return ClassFolders(self._config, data, val_data)

    def make_validator(self, device: torch.device, context: DistributedContext) -> RunValidator:
        return ClassifierValidator(self.data.val_images, self.labels, self.preprocessing, device, context)


class SegmentationTask(_ClassTask):
    """Finding the class of each pixel."""

    task = SEGMENTATION
    data: LabelFolders

    def _open(self, data: Path, val_data: Path | None) -> LabelledData:
        num_classes = self._config.hyper_parameters.get("num_classes")
        return LabelFolders(self._config, data, val_data, len(self._given) if self._given else num_classes)

    def make_validator(self, device: torch.device, context: DistributedContext) -> RunValidator:
        return SegmenterValidator(self.data.val_images, self.labels, self.preprocessing, device, context)
