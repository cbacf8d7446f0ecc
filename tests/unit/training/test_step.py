"""One optimizer step: what parts, float16, torch.compile and lazy penalties change about it, and what not."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import TINY
from wavepaint.metrics.lpips import LPIPS
from wavepaint.models.registry import build_model
from wavepaint.training.config import LossConfig, OptimizationConfig, TrainConfig
from wavepaint.training.distributed import DistributedContext, synchronise_batch_norm
from wavepaint.training.recipes import get_recipe
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep

CONFIG = TrainConfig(
    recipe="test",
    hyper_parameters=TINY,
    loss=LossConfig(hole_l1=1.0),
    optimization=OptimizationConfig(batch_size=2, steps=10, learning_rate=1e-2, clip_norm=1.0),
)
CPU = torch.device("cpu")


def make(config: TrainConfig = CONFIG, dtype: torch.dtype | None = None) -> TrainStep:
    torch.manual_seed(0)
    model = build_model(config.architecture, config.hyper_parameters)
    schedule = Schedule(config.optimization, config.optimization.steps)
    return TrainStep(config, model, schedule, DistributedContext(), CPU, autocast_dtype=dtype, lpips=None)


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    return torch.rand(2, 3, 32, 32, generator=generator), mask


def get_weights(updater: TrainStep) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in updater.model.named_parameters()}


def test_an_overflow_in_float16_skips_the_step_and_lowers_the_scale() -> None:
    """It is no cause for alarm: gradients are scaled up until they overflow."""
    updater = make(dtype=torch.float16)
    assert "gradient" not in updater.update([make_batch()], 0)
    scale = updater.scaler.get_scale()
    before = get_weights(updater)
    last = next(reversed(list(updater.model.parameters())))
    handle = last.register_hook(lambda gradient: gradient * float("inf"))
    updater.update([make_batch()], 1)
    assert updater.scaler.get_scale() == scale / 2
    for name, weight in get_weights(updater).items():
        assert torch.equal(weight, before[name]), name
    handle.remove()
    losses = [updater.update([make_batch()], step)["loss"].item() for step in range(2, 10)]
    assert losses[-1] < losses[0]
    assert all(weight.isfinite().all() for weight in get_weights(updater).values())


def test_float16_steps_are_those_of_float32_but_for_rounding() -> None:
    plain, half = make(), make(dtype=torch.float16)
    for step in range(3):
        expected = plain.update([make_batch()], step)["loss"].item()
        # A value near 0.3 through a dozen layers of 11 bits each.
        assert half.update([make_batch()], step)["loss"].item() == pytest.approx(expected, rel=1e-2)


def test_a_compiled_network_takes_the_same_steps_and_keeps_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # Graph capture alone: machine code needs a compiler, and changes roundings.
    compiled: list[Any] = []
    capture = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or capture(module))
    usual, fast = make(), make(CONFIG.change({"optimization": {"compile": True}}))
    assert len(compiled) == 1
    for step in range(3):
        expected = usual.update([make_batch()], step)["loss"]
        torch.testing.assert_close(fast.update([make_batch()], step)["loss"], expected, atol=1e-5, rtol=1e-5)
    assert fast.result.state_dict().keys() == usual.result.state_dict().keys()


def test_penalties_come_at_every_so_many_steps_alone() -> None:
    loss = {"adversarial_kind": "non-saturating", "adversarial": 0.1, "r1": 0.1, "penalty_every": 3}
    small = {"discriminator_channels": 4, "discriminator_layers": 2}
    updater = make(CONFIG.change({"loss": {**loss, **small}}))
    penalties = [updater.update([make_batch()], step)["discriminator_r1"].item() for step in range(7)]
    assert [step for step, penalty in enumerate(penalties) if penalty] == [0, 3, 6]
    first = make(CONFIG.change({"loss": {**loss, **small, "penalty_every": 1}})).update([make_batch()], 0)
    assert penalties[0] == pytest.approx(3 * first["discriminator_r1"].item(), rel=1e-5)


SMALL: dict[str, Any] = {"hyper_parameters": {"final_dim": 8, "ff_channel": 8, "blocks_per_module": 1}}
"""A recipe with all of its losses, on fewer channels."""


def make_from_recipe(name: str, world: DistributedContext) -> TrainStep:
    """Return a recipe's step in the default precision; perceptual losses have random weights."""
    config = get_recipe(name).change(SMALL)
    if config.loss.adversarial_kind != "none":
        config = config.change({"loss": {"discriminator_channels": 4}})
    torch.manual_seed(0)
    model = synchronise_batch_norm(build_model(config.architecture, config.hyper_parameters), world, fused=False)
    lpips = LPIPS("alexnet") if config.loss.needs_lpips else None
    return TrainStep(config, model, Schedule(config.optimization, 10), world, CPU, autocast_dtype=None, lpips=lpips)


def make_uneven_batch() -> tuple[Tensor, Tensor]:
    """Four crops with holes of very different sizes, one of them whole."""
    generator = torch.Generator().manual_seed(1)
    image, mask = torch.rand(4, 3, 96, 96, generator=generator), torch.zeros(4, 1, 96, 96)
    for n, side in enumerate((60, 0, 7, 30)):
        mask[n, :, 10 : 10 + side, 20 : 20 + side] = 1
    return image.to(torch.get_default_dtype()), mask.to(torch.get_default_dtype())


def take_step(updater: TrainStep, parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the losses of a step, the network's gradient and, before its own step, the discriminator's."""
    found: dict[str, Tensor] = {}
    discriminator = updater.discriminator
    if discriminator is not None:
        step = updater.discriminator_optimizer.step

        def note_and_step() -> None:
            found["of the discriminator"] = join_gradients(discriminator)
            step()

        updater.discriminator_optimizer.step = note_and_step  # type: ignore[method-assign, assignment]
    losses = updater.update(parts, 0)
    return {**losses, **found, "of the network": join_gradients(updater.model)}


def join_gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def assert_same_step(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Compare losses to the tolerance, and gradients, sums over some 40,000 pixels in another order, to 5 times it."""
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        bound = (5 * tolerance if tensor.ndim else tolerance) * torch.linalg.vector_norm(tensor)
        assert torch.linalg.vector_norm(got[name] - tensor) <= bound, name


def keep_statistics(module: nn.Module | None) -> None:
    """Let BatchNorm use its running statistics: those of a batch are those of its part by their nature."""
    for layer in module.modules() if module else ():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            layer.train = lambda mode=True, layer=layer: layer  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("recipe", ["default", "default-textures"])
def test_a_batch_in_parts_has_the_loss_and_the_gradient_of_the_whole(
    recipe: str, dtype: torch.dtype, tolerance: float
) -> None:
    """However unevenly their holes are spread over the parts."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        steps = []
        for num_parts in (1, 2, 4):
            updater = make_from_recipe(recipe, DistributedContext())
            keep_statistics(updater.model)
            keep_statistics(updater.discriminator)
            image, mask = make_uneven_batch()
            steps.append(take_step(updater, list(zip(image.chunk(num_parts), mask.chunk(num_parts), strict=True))))
    finally:
        torch.set_default_dtype(former)
    for step in steps[1:]:
        assert_same_step(step, steps[0], tolerance)


def test_a_critic_takes_several_steps_with_a_batch_each_to_one_of_the_network() -> None:
    loss = {"adversarial_kind": "wasserstein", "adversarial": 1.0, "gradient_penalty": 10.0}
    small = {"discriminator_channels": 4, "discriminator_layers": 2}
    updater = make(CONFIG.change({"loss": {**loss, **small}, "optimization": {"discriminator_steps": 3}}))
    seen: list[Tensor] = []
    assert updater.discriminator is not None
    updater.discriminator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    image, mask = make_batch()
    batches = [(image.roll(n, dims=3), mask) for n in range(3)]
    steps: list[str] = []
    for name, optimizer in (("critic", updater.discriminator_optimizer), ("network", updater.optimizer)):
        optimizer.register_step_post_hook(lambda *arguments, name=name: steps.append(name))
    updater.update([(part[:1], hole[:1]) for image, hole in batches for part in (image, image.flip(0))], 0)
    assert steps == ["critic"] * 3 + ["network"]
    for batch, _ in batches:
        assert any(torch.equal(batch[:1], shown) for shown in seen)
