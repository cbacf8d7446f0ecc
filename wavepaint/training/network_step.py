"""What the optimizer steps of every kind of run have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from wavepaint.training.config import RunConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.ema import EMA
from wavepaint.training.schedule import Schedule

Batch = tuple[Tensor, Tensor]
"""Images (n, 3, S, S) in [0, 1], and what belongs to them: masks or labels."""


class NetworkStep(ABC):
    """Updates the weights of a network, one step at a time.

    Args:
        config: The configuration of the run.
        model: The network, on its device.
        schedule: The optimizer and learning rate of each step.
        context: The processes of the run.
        device: The device of the network.
        autocast_dtype: bfloat16 or float16; None is float32 throughout.
        graph: What predicts; it contains the network. None is the network itself.

    Attributes:
        discriminator: A second network, trained against the first; None without adversarial losses.
    """

    discriminator: nn.Module | None = None

    def __init__(
        self,
        config: RunConfig,
        model: nn.Module,
        schedule: Schedule,
        context: DistributedContext,
        device: torch.device,
        *,
        autocast_dtype: torch.dtype | None,
        graph: nn.Module | None = None,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.device = device
        self._seed = config.seed
        self._settings = config.optimization
        self._context = context
        self._dtype = autocast_dtype
        wrapped: nn.Module = context.wrap(graph or model, device)
        self._predict = torch.compile(wrapped) if config.optimization.compile else wrapped
        self.optimizer = schedule.build_optimizer(model.parameters())
        self.scaler = torch.amp.GradScaler(device.type, enabled=autocast_dtype is torch.float16)
        decay = config.optimization.ema_decay
        self.ema = EMA(model, decay) if decay else None

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self._settings.channels_last else torch.contiguous_format

    @property
    def result(self) -> nn.Module:
        """The network to validate and export."""
        return self.ema.model if self.ema else self.model

    def restart_with_best(self, state: Mapping[str, Tensor]) -> None:
        """Reload the best weights and build the optimizer of the schedule's current stage."""
        self.model.load_state_dict(state)
        if self.ema:
            self.ema.model.load_state_dict(state)
        self.optimizer = self.schedule.build_optimizer(self.model.parameters())

    @abstractmethod
    def run(self, micro_batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Take one step.

        Args:
            micro_batches: This process's share of the batches of the step.
            step: Number of the step, from 0.

        Returns:
            Mean losses of this process by name, on the device. "loss" is minimised and is the sum of the weighted
            terms. "grad_norm" is the gradient norm before clipping.
        """

    def _make_seed(self, step: int) -> int:
        """Return the seed of everything random in a step, so that a resumed run needs no random state."""
        return (self._seed << 44) ^ (step << 12)

    def _start(self, step: int) -> None:
        """Seed this process, set the learning rate, and clear the gradients."""
        torch.manual_seed((self._make_seed(step) ^ self._context.rank) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(step)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)

    def _step_network(self) -> Tensor:
        """Update the weights; return the gradient norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        limit = self._settings.clip_norm or float("inf")
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema:
            self.ema.update(self.model)
        return grad_norm

    def _synchronised_if(self, last: bool) -> AbstractContextManager[None]:
        """Average gradients over the processes only after the last micro-batch."""
        no_sync = getattr(self._predict, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except the network's weights."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        if self.ema:
            state["averaged"] = self.ema.model.state_dict()
            state["averaged_updates"] = self.ema.num_updates
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Invert :meth:`state_dict`. Restore the schedule first."""
        self.optimizer = self.schedule.build_optimizer(self.model.parameters())
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.model.load_state_dict(state["averaged"])
            self.ema.num_updates = int(state["averaged_updates"])
