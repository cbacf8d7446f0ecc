"""One optimizer step of inpainting: forward and backward passes of the network and of its discriminator."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wavepaint.metrics.lpips import LPIPS
from wavepaint.training.config import TrainConfig
from wavepaint.training.distributed import DistributedContext, synchronise_batch_norm
from wavepaint.training.losses.adversarial import LossTerms, make_adversarial_loss
from wavepaint.training.losses.discriminator import make_discriminator
from wavepaint.training.losses.objective import BatchInfo, Objective
from wavepaint.training.losses.reconstruction import composite, shift_and_crop, widen
from wavepaint.training.network_step import Batch, NetworkStep
from wavepaint.training.schedule import Schedule


class TrainStep(NetworkStep):
    """Updates the weights of an inpainting network, one step at a time.

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
        super().__init__(config, model, schedule, context, device, autocast_dtype=autocast_dtype)
        self.config = config
        self._objective = Objective(config.loss, lpips)
        self._adversarial = make_adversarial_loss(config.loss)
        # A separate seed: the network starts from the same weights with and without a discriminator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.discriminator = make_discriminator(config.loss)
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

    def run(self, micro_batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Take one step; see :meth:`NetworkStep.run`.

        Args:
            micro_batches: Images with masks (n, 1, S, S). The last batch trains the network; the discriminator learns
                from all of them, and its losses are "discriminator_x".
            step: Number of the step, from 0.
        """
        count = len(micro_batches) // self.config.optimization.discriminator_steps
        discriminator_only, own = micro_batches[:-count], micro_batches[-count:]
        batch = self._objective.describe_batch(
            [mask for _, mask in own],
            generator=torch.Generator().manual_seed(self._make_seed(step) % 2**63),
            sum_over_processes=self._context.sum,
        )
        self._start(step)
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

    def _adversarial_autocast(self) -> torch.autocast:
        # float16 would need scaled gradients, which the discriminator does not have.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._dtype is torch.bfloat16)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
