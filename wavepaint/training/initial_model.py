"""The network of a run before its first step."""

from dataclasses import asdict

import torch
from torch import nn

from wavepaint.errors import CheckpointError, ConfigError, TrainingError
from wavepaint.models.registry import build_model, get_architecture
from wavepaint.models.wavepaint import WavePaint
from wavepaint.training.config import TrainConfig
from wavepaint.weights.checkpoint import Checkpoint
from wavepaint.weights.grow_network import load_initial_weights


def check_network(config: TrainConfig) -> None:
    """Check that the network fills holes, and that crops and validation images have sizes it accepts.

    Raises:
        TrainingError: The network has another task.
        ConfigError: A size is not a multiple of the network's.
    """
    architecture = get_architecture(config.architecture)
    if architecture.task != "inpainting":
        raise TrainingError(f"{config.architecture} is not an inpainting network, and wp train trains only those.")
    multiple = architecture.size_multiple(config.hyper_parameters)
    for flag, size in (("--crop-size", config.data.crop_size), ("--val-size", config.data.val_size)):
        if size % multiple:
            raise ConfigError(f"{flag} is {size}: this network needs a multiple of {multiple}.")


def build_initial_model(config: TrainConfig, init_from: Checkpoint | None) -> nn.Module:
    """Build the network of a run.

    Args:
        config: The configuration of the run.
        init_from: Weights of the same network or of a smaller one; None starts from random weights.

    Raises:
        CheckpointError: ``init_from`` belongs to another network.
    """
    torch.manual_seed(config.seed)
    model: nn.Module = build_model(config.architecture, config.hyper_parameters)
    if isinstance(model, WavePaint) and (model.config.prefill_levels or init_from):
        model.start_from_initial_fill()
    if init_from:
        try:
            load_initial_weights(model, init_from, config.architecture)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{_explain_differences(config, init_from)}") from error
    return model


def _explain_differences(config: TrainConfig, checkpoint: Checkpoint) -> str:
    """Return which hyper-parameters of a checkpoint this run changes, and how to keep them."""
    own = asdict(get_architecture(config.architecture).make_config(config.hyper_parameters))
    differing = [
        f"{name} {value} instead of {checkpoint.parameters[name]}"
        for name, value in own.items()
        if checkpoint.parameters.get(name, value) != value
    ]
    if not differing or checkpoint.architecture.name != config.architecture:
        return ""
    return f" This run's network has {', '.join(differing)}: leave --recipe out to train the checkpoint's network."
