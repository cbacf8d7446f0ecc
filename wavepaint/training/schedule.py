"""The optimizer and the learning rate of each step, and the end of each stage.

Source of the switch from Adam to SGD: N. S. Keskar and R. Socher, "Improving generalization performance by switching
from Adam to SGD" (2017), as the papers use it: reload the best weights, then continue with SGD.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from wavepaint.training.optimization_config import OptimizationConfig

Stage = Literal["adamw", "sgd"]
Verdict = Literal["continue", "switch", "stop"]

LAST_SHARE = 0.01
"""Learning rate at the end of the cosine, as a share of the peak."""


class Schedule:
    """The stages of a run: AdamW, followed by SGD with the kinds "epochs" and "plateau".

    Args:
        config: The optimization settings.
        total_steps: Length of the run in steps.
    """

    def __init__(self, config: OptimizationConfig, total_steps: int) -> None:
        self.config = config
        self.total_steps = total_steps
        self.stage: Stage = "adamw"
        self.epoch = 0
        self.epochs_without_gain = 0
        self.finished = False

    def build_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer for the current stage."""
        config = self.config
        if self.stage == "sgd":
            return torch.optim.SGD(parameters, lr=config.sgd_learning_rate, momentum=config.sgd_momentum)
        return torch.optim.AdamW(
            parameters,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step. The first step is 0."""
        config = self.config
        if self.stage == "sgd":
            return config.sgd_learning_rate
        if step < config.warmup_steps:
            return config.learning_rate * (step + 1) / config.warmup_steps
        if config.schedule != "cosine":
            return config.learning_rate
        progress = (step - config.warmup_steps) / max(self.total_steps - config.warmup_steps, 1)
        share = LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return config.learning_rate * share

    def finish_epoch(self, *, improved: bool) -> Verdict:
        """Count an epoch and decide how to proceed.

        Args:
            improved: Whether its validation was the best so far.

        Returns:
            "switch" to reload the best weights and build a new optimizer, "stop" to end the run before its last step,
            otherwise "continue".
        """
        self.epoch += 1
        self.epochs_without_gain = 0 if improved else self.epochs_without_gain + 1
        over = {
            "epochs": self.stage == "adamw" and self.epoch >= self.config.adamw_epochs,
            "plateau": self.epochs_without_gain >= self.config.patience,
        }.get(self.config.schedule, False)
        if not over:
            return "continue"
        if self.stage == "sgd":
            self.finished = True
            return "stop"
        self.stage, self.epochs_without_gain = "sgd", 0
        return "switch"

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        names = ("stage", "epoch", "epochs_without_gain", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`state_dict`."""
        self.stage = state["stage"]
        self.epoch = int(state["epoch"])
        self.epochs_without_gain = int(state["epochs_without_gain"])
        self.finished = bool(state["finished"])
