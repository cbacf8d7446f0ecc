"""What an epoch adds up: steps, times and losses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wavepaint.training.distributed import DistributedContext
from wavepaint.training.measures import Metrics
from wavepaint.training.reporter import EpochReport


@dataclass
class EpochSums:
    """Sums since the epoch began; a checkpoint stores them, so that a resumed epoch reports all of its steps.

    Attributes:
        steps: Number of steps.
        seconds: Time spent, including waiting for photos.
        waited: Time spent waiting for photos, in seconds.
        losses: Losses and gradient norms by name.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    def add_losses(
        self, unread: Sequence[Mapping[str, Tensor]], context: DistributedContext
    ) -> tuple[float, list[str]]:
        """Add the losses of some steps, averaged over all processes.

        Args:
            unread: The losses of each step by name, on their device.
            context: The processes of the run.

        Returns:
            The last loss, and the names of those that are not finite in some process; then nothing is added.
        """
        names = list(unread[0])
        table = torch.stack([torch.stack([row[name].float() for name in names]) for row in unread]).double().cpu()
        *means, last = context.mean([*table.sum(dim=0).tolist(), float(table[-1, names.index("loss")])])
        sums = dict(zip(names, means, strict=True))
        bad = [name for name, value in sums.items() if not math.isfinite(value)]
        for name, value in sums.items():
            if not bad:
                self.losses[name] = self.losses.get(name, 0.0) + value
        return last, bad

    def compute_images_per_s(self, crops_per_step: int) -> float:
        """Return the throughput, which excludes validation."""
        return self.steps * crops_per_step / max(self.seconds, 1e-9)

    def make_report(self, metrics: Metrics, *, crops_per_step: int, **facts: Any) -> EpochReport:
        """Return the report of the epoch.

        Args:
            metrics: Its validation.
            crops_per_step: Number of crops in a step.
            facts: The attributes of the report that are neither sums nor metrics.
        """
        means = {name: value / max(self.steps, 1) for name, value in self.losses.items()}
        loss, grad_norm = means.pop("loss"), means.pop("grad_norm", None)
        return EpochReport(
            loss=loss,
            losses=means,
            grad_norm=grad_norm,
            metrics=metrics,
            images_per_s=self.compute_images_per_s(crops_per_step),
            loader_share=self.waited / max(self.seconds, 1e-9),
            **facts,
        )

    def load(self, saved: Mapping[str, Any]) -> None:
        """Restore sums from a checkpoint."""
        self.__dict__.update(saved)
        if "gradient" in self.losses:  # its name in earlier checkpoints
            self.losses["grad_norm"] = self.losses.pop("gradient")
