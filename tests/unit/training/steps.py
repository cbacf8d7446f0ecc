"""Single steps of the default recipes, and comparisons of their losses and gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wavepaint.metrics.lpips import LPIPS
from wavepaint.models.registry import build_model
from wavepaint.training.distributed import DistributedContext, synchronise_batch_norm
from wavepaint.training.recipes import get_recipe
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"hyper_parameters": {"final_dim": 8, "ff_channel": 8, "blocks_per_module": 1}}
"""Fewer channels for a recipe with all of its losses."""


def make_step_of_recipe(name: str, context: DistributedContext) -> TrainStep:
    """Return the step of a recipe in the default precision, with random LPIPS weights."""
    config = get_recipe(name).change(SMALL)
    if config.loss.adversarial_kind != "none":
        config = config.change({"loss": {"discriminator_channels": 4}})
    torch.manual_seed(0)
    model = synchronise_batch_norm(build_model(config.architecture, config.hyper_parameters), context, fused=False)
    lpips = LPIPS("alexnet") if config.loss.needs_lpips else None
    return TrainStep(config, model, Schedule(config.optimization, 10), context, CPU, autocast_dtype=None, lpips=lpips)


def make_uneven_batch() -> tuple[Tensor, Tensor]:
    """Return four crops with holes of very different sizes, one of them empty."""
    generator = torch.Generator().manual_seed(1)
    image, mask = torch.rand(4, 3, 96, 96, generator=generator), torch.zeros(4, 1, 96, 96)
    for n, side in enumerate((60, 0, 7, 30)):
        mask[n, :, 10 : 10 + side, 20 : 20 + side] = 1
    return image.to(torch.get_default_dtype()), mask.to(torch.get_default_dtype())


def take_step(train_step: TrainStep, micro_batches: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the losses of a step and the gradients of the network and the discriminator."""
    found: dict[str, Tensor] = {}
    discriminator = train_step.discriminator
    if discriminator is not None:
        step = train_step.discriminator_optimizer.step

        def record_and_step() -> None:
            found["gradient of the discriminator"] = join_gradients(discriminator)
            step()

        train_step.discriminator_optimizer.step = record_and_step  # type: ignore[method-assign, assignment]
    losses = train_step.run(micro_batches, 0)
    return {**losses, **found, "gradient of the network": join_gradients(train_step.model)}


def join_gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def assert_same_step(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Compare losses to the tolerance, and gradients to 5 times it: they sum some 40,000 pixels in another order."""
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        bound = (5 * tolerance if tensor.ndim else tolerance) * torch.linalg.vector_norm(tensor)
        assert torch.linalg.vector_norm(got[name] - tensor) <= bound, name
