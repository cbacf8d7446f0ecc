"""Which optimizer runs at which learning rate, and when a stage is over.

Source: the switch from Adam to SGD is that of N. S. Keskar and R. Socher, "Improving generalization performance by
switching from Adam to SGD" (2017), as the papers use it: reload the best weights, then go on with SGD.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from wavepaint.training.config import OptimizationConfig

Stage = Literal["adamw", "sgd"]
Verdict = Literal["go on", "switch", "stop"]

LAST_SHARE = 0.01
"""Where the cosine ends, as a share of the peak."""


class Schedule:
    """The stages of a run: AdamW and, with the kinds "epochs" and "plateau", SGD after it.

    Args:
        config: What to do.
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
        """Return a fresh optimizer for the present stage."""
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
        """Return the learning rate of a step, counted from 0."""
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
        """Count an epoch.

        Args:
            improved: Whether its validation was the best so far.

        Returns:
            "switch": reload the best weights, and build the optimizer anew; "stop": the run is over before its last
            step; "go on" otherwise.
        """
        self.epoch += 1
        self.epochs_without_gain = 0 if improved else self.epochs_without_gain + 1
        over = {
            "epochs": self.stage == "adamw" and self.epoch >= self.config.adamw_epochs,
            "plateau": self.epochs_without_gain >= self.config.patience,
        }.get(self.config.schedule, False)
        if not over:
            return "go on"
        if self.stage == "sgd":
            self.finished = True
            return "stop"
        self.stage, self.epochs_without_gain = "sgd", 0
        return "switch"

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs."""
        names = ("stage", "epoch", "epochs_without_gain", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the place that :meth:`state_dict` was taken at."""
        self.stage = state["stage"]
        self.epoch = int(state["epoch"])
        self.epochs_without_gain = int(state["epochs_without_gain"])
        self.finished = bool(state["finished"])
