"""One optimizer step: forward and backward passes of the network and, adversarially, of its discriminator."""

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
from wavepaint.training.losses.adversarial import Terms
from wavepaint.training.losses.objective import Objective, Survey, make_adversarial_loss, make_discriminator
from wavepaint.training.losses.terms import composite, jitter, widen
from wavepaint.training.schedule import Schedule


class TrainStep:
    """Changes a network's weights, step by step.

    Args:
        config: The run's.
        model: The network, on its device.
        schedule: Which optimizer, which learning rate.
        world: The run's processes.
        device: Where they compute.
        autocast_dtype: bfloat16 or float16; None is float32 throughout.
        lpips: The perceptual network, if the losses need one.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        schedule: Schedule,
        world: DistributedContext,
        device: torch.device,
        *,
        autocast_dtype: torch.dtype | None,
        lpips: LPIPS | None,
    ) -> None:
        self.config = config
        self.model = model
        self.schedule = schedule
        self.device = device
        self._world = world
        self._dtype = autocast_dtype
        wrapped: nn.Module = world.wrap(model, device)
        self._predict = torch.compile(wrapped) if config.optimization.compile else wrapped
        self._objective = Objective(config.loss, lpips)
        self._adversarial = make_adversarial_loss(config.loss)
        # A fixed seed of its own, so that the network starts from the same weights with a discriminator and without.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.discriminator = make_discriminator(config.loss)
        self.optimizer = schedule.build_optimizer(model.parameters())
        self.scaler = torch.amp.GradScaler(device.type, enabled=autocast_dtype is torch.float16)
        if self.discriminator is not None:
            # Not by PyTorch's kernel: penalties are gradients of gradients.
            synchronise_batch_norm(self.discriminator, world, fused=False)
            self.discriminator.to(device, memory_format=self._layout)  # type: ignore[call-overload]
            self.discriminator_optimizer = torch.optim.AdamW(
                self.discriminator.parameters(),
                lr=config.optimization.discriminator_learning_rate,
                betas=(config.optimization.beta1, config.optimization.beta2),
                weight_decay=config.optimization.weight_decay,
            )
        decay = config.optimization.ema_decay
        self.averaged = EMA(model, decay) if decay else None

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.config.optimization.channels_last else torch.contiguous_format

    @property
    def result(self) -> nn.Module:
        """The network that is validated and exported."""
        return self.averaged.model if self.averaged else self.model

    def restart_with_best(self, state: Mapping[str, Tensor]) -> None:
        """Go back to the best weights with the optimizer of the schedule's present stage."""
        self.model.load_state_dict(state)
        if self.averaged:
            self.averaged.model.load_state_dict(state)
        self.optimizer = self.schedule.build_optimizer(self.model.parameters())

    def update(self, parts: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Take one step.

        Args:
            parts: This process's share of the step's batches, each in as many parts as gradients are accumulated
                over: image (n, 3, S, S) in [0, 1] and mask (n, 1, S, S). The last batch is the network's; the
                discriminator learns from all.
            step: Its number, from 0.

        Returns:
            Mean losses of this process by name, on the device: "loss", what is minimised; the weighted terms it is
            the sum of; "gradient", the norm before clipping; the discriminator's terms as "discriminator_x".
        """
        num_parts = len(parts) // self.config.optimization.discriminator_steps
        own = parts[len(parts) - num_parts :]
        # Whatever is random in a step follows from its number: a run that is resumed needs no random states.
        seed = (self.config.seed << 44) ^ (step << 12)
        survey = self._objective.survey(
            [mask for _, mask in own],
            generator=torch.Generator().manual_seed(seed % 2**63),
            add_up=self._world.add_up,
        )
        torch.manual_seed((seed ^ self._world.rank) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(step)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        if self.discriminator is not None:
            self.discriminator.train()
        every = self.config.loss.penalty_every
        penalty_scale = 0.0 if step % every else float(every)
        for index, (image, mask) in enumerate(parts[: len(parts) - num_parts], start=1):
            with torch.no_grad():
                shown = self._show(self._fill(image, mask), image, mask, survey)
            self._teach_discriminator(shown, num_parts, penalty_scale)
            if index % num_parts == 0:
                self._step_discriminator()
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(own, start=1):
            with self._synchronised_if(index == num_parts):
                for name, value in self._backward(part, survey, num_parts, penalty_scale).items():
                    sums[name] = sums[name] + value if name in sums else value
        means = {name: value / num_parts for name, value in sums.items()}
        if self.discriminator is not None:
            self._step_discriminator()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimization.clip_norm or float("inf"))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged:
            self.averaged.update(self.model)
        if not self.scaler.is_enabled():  # float16's overflows are skipped by the scaler and no cause for alarm
            means["gradient"] = norm
        return means

    def _synchronised_if(self, last: bool) -> AbstractContextManager[None]:
        """Let the processes average their gradients after the last part alone."""
        no_sync = getattr(self._predict, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()

    def _fill(self, image: Tensor, mask: Tensor) -> Tensor:
        image = image.contiguous(memory_format=self._layout)
        with self._autocast():
            return widen(self._predict(image, mask, keep_known=False))

    def _show(self, predicted: Tensor, image: Tensor, mask: Tensor, survey: Survey) -> tuple[Tensor, ...]:
        """Return filled image, original and mask as the discriminator sees them."""
        return jitter(self.config.loss.jitter, survey.shift, composite(predicted, image, mask), image, mask)

    def _teach_discriminator(self, shown: tuple[Tensor, ...], num_parts: int, penalty_scale: float) -> Terms:
        """Add to the discriminator's gradients those of a part; return its terms."""
        assert self._adversarial is not None
        assert self.discriminator is not None
        with self._adversarial_autocast():
            judged = self._adversarial.discriminator(self.discriminator, *shown, penalty_scale=penalty_scale)
        torch.stack(list(judged.values())).sum().div(num_parts).backward()  # type: ignore[no-untyped-call]
        return judged

    def _step_discriminator(self) -> None:
        assert self.discriminator is not None
        self._world.average_gradients(self.discriminator)
        self.discriminator_optimizer.step()
        self.discriminator_optimizer.zero_grad(set_to_none=True)

    def _backward(self, part: Batch, survey: Survey, num_parts: int, penalty_scale: float) -> dict[str, Tensor]:
        image, mask = part
        predicted = self._fill(image, mask)
        with self._autocast():
            loss, terms = self._objective(predicted, image, mask, survey)
        if self._adversarial is not None and self.discriminator is not None:
            shown = self._show(predicted, image, mask, survey)
            judged = self._teach_discriminator(shown, num_parts, penalty_scale)
            with self._adversarial_autocast():
                persuaded = self._adversarial.generator(self.discriminator, *shown)
            loss = loss + torch.stack(list(persuaded.values())).sum()
            terms |= {name: term.detach() for name, term in persuaded.items()}
            terms |= {f"discriminator_{name}": term.detach() for name, term in judged.items()}
        self.scaler.scale(loss / num_parts).backward()
        return {"loss": loss.detach(), **terms}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None)

    def _adversarial_autocast(self) -> torch.autocast:
        # The discriminator's gradients are not scaled, which float16 would need.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._dtype is torch.bfloat16)

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the network's weights that the next step depends on."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        if self.averaged:
            state["averaged"] = self.averaged.model.state_dict()
            state["averaged_updates"] = self.averaged.num_updates
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Invert :meth:`state_dict`; the schedule must be in its place already."""
        self.optimizer = self.schedule.build_optimizer(self.model.parameters())
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.averaged:
            self.averaged.model.load_state_dict(state["averaged"])
            self.averaged.num_updates = int(state["averaged_updates"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
