"""The network of a run before its first step."""

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import nn

from wavepaint.contract import Task, TaskName, get_task
from wavepaint.errors import CheckpointError, ConfigError, TrainingError
from wavepaint.models.registry import build_model, get_architecture
from wavepaint.models.wavepaint import WavePaint
from wavepaint.training.config import RunConfig
from wavepaint.weights.checkpoint import Checkpoint
from wavepaint.weights.grow_network import load_backbone, load_initial_weights

_NOUNS: Mapping[TaskName, str] = {
    "inpainting": "an inpainting network",
    "classification": "a classifier",
    "segmentation": "a segmenter",
}


def check_network(config: RunConfig, task: Task) -> None:
    """Check that the network is one for the run's task, and that crops and validation images have sizes it accepts.

    Raises:
        TrainingError: The network has another task.
        ConfigError: A size is not a multiple of the network's.
    """
    architecture = get_architecture(config.architecture)
    if architecture.task != task.name:
        raise TrainingError(
            f"{config.architecture} is not {_NOUNS[task.name]}, and this run trains one: choose another --architecture "
            "or --task."
        )
    multiple = architecture.size_multiple(config.hyper_parameters)
    for flag, size in (("--crop-size", config.data.crop_size), ("--val-size", config.data.val_size)):
        if size % multiple:
            raise ConfigError(f"{flag} is {size}: this network needs a multiple of {multiple}.")
        limits = architecture.find_limits(config.hyper_parameters)
        if limits is not None and size != limits[0][1]:
            raise ConfigError(f"{flag} is {size}: this network takes {limits[0][1]} only.")


def build_initial_model(config: RunConfig, init_from: Checkpoint | None) -> nn.Module:
    """Build the network of a run.

    Args:
        config: The configuration of the run.
        init_from: Weights of the same network or of a smaller one; None starts from random weights. With classes, the
            head stays random if the checkpoint's has other shapes.

    Raises:
        CheckpointError: ``init_from`` belongs to another network.
    """
    torch.manual_seed(config.seed)
    model: nn.Module = build_model(config.architecture, config.hyper_parameters)
    if isinstance(model, WavePaint) and (model.config.prefill_levels or init_from):
        model.start_from_initial_fill()
    if init_from:
        try:
            if get_task(get_architecture(config.architecture).task).has_classes:
                load_backbone(model, init_from)
            else:
                load_initial_weights(model, init_from, config.architecture)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{_explain_differences(config, init_from)}") from error
    return model


def _explain_differences(config: RunConfig, checkpoint: Checkpoint) -> str:
    """Return which hyper-parameters of a checkpoint this run changes, and how to keep them."""
    own = asdict(get_architecture(config.architecture).make_config(config.hyper_parameters))
    differing = [
        f"{name} {value} instead of {checkpoint.parameters[name]}"
        for name, value in own.items()
        if checkpoint.parameters.get(name, value) not in (value, None) and name not in ("num_classes", "head_dim")
    ]
    is_other = checkpoint.architecture.name != config.architecture and config.kind == "inpaint"
    if not differing or is_other:
        return ""
    return f" This run's network has {', '.join(differing)}: leave --recipe out to train the checkpoint's network."
