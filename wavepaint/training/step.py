"""One optimizer step: forward and backward passes of the network and of its discriminator."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from wavepaint.metrics.lpips import LPIPS
from wavepaint.training.config import TrainConfig
from wavepaint.training.data_module import Batch
from wavepaint.training.distributed import DistributedContext, synchronise_batch_norm
from wavepaint.training.ema import EMA
from wavepaint.training.losses.adversarial import LossTerms, make_adversarial_loss
from wavepaint.training.losses.discriminator import make_discriminator
from wavepaint.training.losses.objective import BatchInfo, Objective
from wavepaint.training.losses.reconstruction import composite, shift_and_crop, widen
from wavepaint.training.schedule import Schedule


class TrainStep:
    """Updates the weights of a network, one step at a time.

    Args:
        config: The configuration of the run.
        model: The network, on its device.
        schedule: The optimizer and learning rate of each step.
        context: The processes of the run.
        device: The device of the network.
        autocast_dtype: bfloat16 or float16; None is float32 throughout.
        lpips: The perceptual network, if the losses need one.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        schedule: Schedule,
        context: DistributedContext,
        device: torch.device,
        *,
        autocast_dtype: torch.dtype | None,
        lpips: LPIPS | None,
    ) -> None:
        self.config = config
        self.model = model
        self.schedule = schedule
        self.device = device
        self._context = context
        self._dtype = autocast_dtype
        wrapped: nn.Module = context.wrap(model, device)
        self._predict = torch.compile(wrapped) if config.optimization.compile else wrapped
        self._objective = Objective(config.loss, lpips)
        self._adversarial = make_adversarial_loss(config.loss)
        # A separate seed: the network starts from the same weights with and without a discriminator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.discriminator = make_discriminator(config.loss)
        self.optimizer = schedule.build_optimizer(model.parameters())
        self.scaler = torch.amp.GradScaler(device.type, enabled=autocast_dtype is torch.float16)
        if self.discriminator is not None:
            # PyTorch's fused kernel does not support penalties, which are gradients of gradients.
            synchronise_batch_norm(self.discriminator, context, fused=False)
            self.discriminator.to(device, memory_format=self._layout)  # type: ignore[call-overload]
            self.discriminator_optimizer = torch.optim.AdamW(
                self.discriminator.parameters(),
                lr=config.optimization.discriminator_learning_rate,
                betas=(config.optimization.beta1, config.optimization.beta2),
                weight_decay=config.optimization.weight_decay,
            )
        decay = config.optimization.ema_decay
        self.ema = EMA(model, decay) if decay else None

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.config.optimization.channels_last else torch.contiguous_format

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

    def run(self, micro_batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Take one step.

        Args:
            micro_batches: This process's share of the batches of the step, each as image (n, 3, S, S) in [0, 1] and
                mask (n, 1, S, S). The last batch trains the network; the discriminator learns from all of them.
            step: Number of the step, from 0.

        Returns:
            Mean losses of this process by name, on the device. "loss" is minimised and is the sum of the weighted
            terms. "grad_norm" is the gradient norm before clipping. The discriminator's terms are "discriminator_x".
        """
        count = len(micro_batches) // self.config.optimization.discriminator_steps
        discriminator_only, own = micro_batches[:-count], micro_batches[-count:]
        # The step number seeds everything random in a step, so that a resumed run needs no random state.
        seed = (self.config.seed << 44) ^ (step << 12)
        batch = self._objective.describe_batch(
            [mask for _, mask in own],
            generator=torch.Generator().manual_seed(seed % 2**63),
            sum_over_processes=self._context.sum,
        )
        torch.manual_seed((seed ^ self._context.rank) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(step)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        if self.discriminator is not None:
            self.discriminator.train()
        every = self.config.loss.penalty_every
        penalty_scale = 0.0 if step % every else float(every)
        for index, (image, mask) in enumerate(discriminator_only, start=1):
            with torch.no_grad():
                shown = self._show(self._fill(image, mask), image, mask, batch)
            self._backward_discriminator(shown, count, penalty_scale)
            if index % count == 0:
                self._step_discriminator()
        means: dict[str, Tensor] = {}
        for index, micro_batch in enumerate(own, start=1):
            with self._synchronised_if(index == count):
                for name, value in self._backward(micro_batch, batch, count, penalty_scale).items():
                    means[name] = means.get(name, 0) + value / count
        if self.discriminator is not None:
            self._step_discriminator()
        grad_norm = self._step_network()
        if not self.scaler.is_enabled():  # the scaler skips steps that overflow in float16
            means["grad_norm"] = grad_norm
        return means

    def _step_network(self) -> Tensor:
        """Update the weights; return the gradient norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        limit = self.config.optimization.clip_norm or float("inf")
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

    def _fill(self, image: Tensor, mask: Tensor) -> Tensor:
        image = image.contiguous(memory_format=self._layout)
        with self._autocast():
            return widen(self._predict(image, mask, keep_known=False))

    def _show(self, predicted: Tensor, image: Tensor, mask: Tensor, batch: BatchInfo) -> tuple[Tensor, ...]:
        """Return filled image, original and mask as the discriminator sees them."""
        return shift_and_crop(self.config.loss.jitter, batch.shift, composite(predicted, image, mask), image, mask)

    def _backward_discriminator(self, shown: tuple[Tensor, ...], count: int, penalty_scale: float) -> LossTerms:
        """Accumulate the discriminator's gradients of a micro-batch; return its terms."""
        assert self._adversarial is not None
        assert self.discriminator is not None
        with self._adversarial_autocast():
            terms = self._adversarial.discriminator_terms(self.discriminator, *shown, penalty_scale=penalty_scale)
        torch.stack(list(terms.values())).sum().div(count).backward()  # type: ignore[no-untyped-call]
        return terms

    def _step_discriminator(self) -> None:
        assert self.discriminator is not None
        self._context.average_gradients(self.discriminator)
        self.discriminator_optimizer.step()
        self.discriminator_optimizer.zero_grad(set_to_none=True)

    def _backward(self, micro_batch: Batch, batch: BatchInfo, count: int, penalty_scale: float) -> LossTerms:
        """Accumulate the gradients of a micro-batch; return its losses."""
        image, mask = micro_batch
        predicted = self._fill(image, mask)
        with self._autocast():
            loss, terms = self._objective(predicted, image, mask, batch)
        if self._adversarial is not None and self.discriminator is not None:
            shown = self._show(predicted, image, mask, batch)
            discriminator_terms = self._backward_discriminator(shown, count, penalty_scale)
            with self._adversarial_autocast():
                generator_terms = self._adversarial.generator_terms(self.discriminator, *shown)
            loss = loss + torch.stack(list(generator_terms.values())).sum()
            terms |= {name: term.detach() for name, term in generator_terms.items()}
            terms |= {f"discriminator_{name}": term.detach() for name, term in discriminator_terms.items()}
        self.scaler.scale(loss / count).backward()
        return {"loss": loss.detach(), **terms}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None)

    def _adversarial_autocast(self) -> torch.autocast:
        # float16 would need scaled gradients, which the discriminator does not have.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._dtype is torch.bfloat16)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except the network's weights."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        if self.ema:
            state["averaged"] = self.ema.model.state_dict()
            state["averaged_updates"] = self.ema.num_updates
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Invert :meth:`state_dict`. Restore the schedule first."""
        self.optimizer = self.schedule.build_optimizer(self.model.parameters())
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.model.load_state_dict(state["averaged"])
            self.ema.num_updates = int(state["averaged_updates"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
