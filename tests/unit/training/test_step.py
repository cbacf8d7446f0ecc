"""One optimizer step: micro-batches, float16, torch.compile, and penalties that skip steps."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.networks import BARE
from tests.unit.training.steps import CPU, assert_same_step, make_step_of_recipe, make_uneven_batch, take_step
from wavepaint.models.registry import build_model
from wavepaint.training.config import TrainConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep

CONFIG = TrainConfig(
    recipe="test",
    hyper_parameters=BARE,
    loss=LossConfig(hole_l1=1.0),
    optimization=OptimizationConfig(batch_size=2, steps=10, learning_rate=1e-2, clip_norm=1.0),
)


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


def get_weights(train_step: TrainStep) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in train_step.model.named_parameters()}


def test_overflow_in_float16_skips_the_step_and_lowers_the_scale() -> None:
    """Overflows are expected, because gradients are scaled up until they overflow."""
    train_step = make(dtype=torch.float16)
    assert "grad_norm" not in train_step.run([make_batch()], 0)
    scale = train_step.scaler.get_scale()
    before = get_weights(train_step)
    last = next(reversed(list(train_step.model.parameters())))
    handle = last.register_hook(lambda gradient: gradient * float("inf"))
    train_step.run([make_batch()], 1)
    assert train_step.scaler.get_scale() == scale / 2
    for name, weight in get_weights(train_step).items():
        assert torch.equal(weight, before[name]), name
    handle.remove()
    losses = [train_step.run([make_batch()], step)["loss"].item() for step in range(2, 10)]
    assert losses[-1] < losses[0]
    assert all(weight.isfinite().all() for weight in get_weights(train_step).values())


def test_float16_steps_equal_float32_steps_up_to_rounding() -> None:
    plain, half = make(), make(dtype=torch.float16)
    for step in range(3):
        expected = plain.run([make_batch()], step)["loss"].item()
        # A value near 0.3 passes through a dozen layers with 11 bits each.
        assert half.run([make_batch()], step)["loss"].item() == pytest.approx(expected, rel=1e-2)


def test_compiled_network_takes_the_same_steps_and_keeps_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # The test only captures the graph. Generating code needs a compiler and changes rounding.
    compiled: list[Any] = []
    capture = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or capture(module))
    usual, fast = make(), make(CONFIG.change({"optimization": {"compile": True}}))
    assert len(compiled) == 1
    for step in range(3):
        expected = usual.run([make_batch()], step)["loss"]
        torch.testing.assert_close(fast.run([make_batch()], step)["loss"], expected, atol=1e-5, rtol=1e-5)
    assert fast.result.state_dict().keys() == usual.result.state_dict().keys()


def test_penalties_skip_steps_and_count_for_them() -> None:
    loss = {"adversarial_kind": "non-saturating", "adversarial": 0.1, "r1": 0.1, "penalty_every": 3}
    small = {"discriminator_channels": 4, "discriminator_layers": 2}
    train_step = make(CONFIG.change({"loss": {**loss, **small}}))
    penalties = [train_step.run([make_batch()], step)["discriminator_r1"].item() for step in range(7)]
    assert [step for step, penalty in enumerate(penalties) if penalty] == [0, 3, 6]
    first = make(CONFIG.change({"loss": {**loss, **small, "penalty_every": 1}})).run([make_batch()], 0)
    assert penalties[0] == pytest.approx(3 * first["discriminator_r1"].item(), rel=1e-5)


def freeze_batch_statistics(module: nn.Module | None) -> None:
    """Make BatchNorm use its running statistics, because those of a batch depend on its size."""
    for layer in module.modules() if module else ():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            layer.train = lambda mode=True, layer=layer: layer  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("recipe", ["default", "default-textures"])
def test_micro_batches_give_the_loss_and_the_gradient_of_the_batch(
    recipe: str, dtype: torch.dtype, tolerance: float
) -> None:
    """It holds for any distribution of the holes over the micro-batches."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        steps = []
        for count in (1, 4):
            train_step = make_step_of_recipe(recipe, DistributedContext())
            freeze_batch_statistics(train_step.model)
            freeze_batch_statistics(train_step.discriminator)
            image, mask = make_uneven_batch()
            steps.append(take_step(train_step, list(zip(image.chunk(count), mask.chunk(count), strict=True))))
    finally:
        torch.set_default_dtype(former)
    for step in steps[1:]:
        assert_same_step(step, steps[0], tolerance)


def test_critic_takes_several_steps_per_step_of_the_network() -> None:
    loss = {"adversarial_kind": "wasserstein", "adversarial": 1.0, "gradient_penalty": 10.0}
    small = {"discriminator_channels": 4, "discriminator_layers": 2}
    train_step = make(CONFIG.change({"loss": {**loss, **small}, "optimization": {"discriminator_steps": 3}}))
    seen: list[Tensor] = []
    assert train_step.discriminator is not None
    train_step.discriminator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    image, mask = make_batch()
    batches = [(image.roll(n, dims=3), mask) for n in range(3)]
    steps: list[str] = []
    for name, optimizer in (("critic", train_step.discriminator_optimizer), ("network", train_step.optimizer)):
        optimizer.register_step_post_hook(lambda *arguments, name=name: steps.append(name))
    train_step.run([(part[:1], hole[:1]) for image, hole in batches for part in (image, image.flip(0))], 0)
    assert steps == ["critic"] * 3 + ["network"]
    for batch, _ in batches:
        assert any(torch.equal(batch[:1], shown) for shown in seen)
