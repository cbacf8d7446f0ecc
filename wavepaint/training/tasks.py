"""The kinds of run by name."""

from collections.abc import Sequence

from wavepaint.errors import ConfigError
from wavepaint.training.config import ClassTrainConfig, RunConfig, TrainConfig
from wavepaint.training.recognition.class_task import ClassificationTask, SegmentationTask
from wavepaint.training.run_task import InpaintingTask, RunTask

CLASS_TASKS = {"classify": ClassificationTask, "segment": SegmentationTask}


def make_task(config: RunConfig, labels: Sequence[str] | None) -> RunTask:
    """Return what a run trains.

    Args:
        config: The configuration of the run.
        labels: Names of the classes; None takes those of the data.

    Raises:
        ConfigError: There are labels, but no classes.
    """
    if isinstance(config, ClassTrainConfig):
        return CLASS_TASKS[config.task](config, labels)
    assert isinstance(config, TrainConfig)
    if labels is not None:
        raise ConfigError("an inpainting network has no classes: leave --labels out, or choose another --task.")
    return InpaintingTask(config)
