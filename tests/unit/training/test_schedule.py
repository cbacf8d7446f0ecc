"""The optimizer and learning rate of each step, and the end of each stage."""

import pytest
import torch

from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.schedule import Schedule


def rates(schedule: Schedule, steps: range) -> list[float]:
    return [schedule.learning_rate(step) for step in steps]


def test_cosine_warms_up_and_ends_at_one_percent() -> None:
    schedule = Schedule(OptimizationConfig(steps=110, warmup_steps=10, learning_rate=1.0), 110)
    assert rates(schedule, range(10)) == pytest.approx([0.1 * n for n in range(1, 11)])
    assert schedule.learning_rate(60) == pytest.approx(0.505)
    assert schedule.learning_rate(110) == pytest.approx(0.01)
    assert all(a >= b for a, b in zip(rates(schedule, range(9, 110)), rates(schedule, range(10, 111)), strict=True))


def test_cosine_equals_pytorchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.01)
    schedule = Schedule(OptimizationConfig(steps=50, learning_rate=1.0), 50)
    for step in range(50):
        assert schedule.learning_rate(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()


def test_constant_schedule_keeps_its_rate() -> None:
    schedule = Schedule(OptimizationConfig(steps=50, schedule="constant", learning_rate=0.3), 50)
    assert set(rates(schedule, range(50))) == {0.3}
    assert [schedule.finish_epoch(improved=False) for _ in range(50)] == ["continue"] * 50


def test_sgd_follows_the_adamw_epochs() -> None:
    config = OptimizationConfig(epochs=4, schedule="epochs", adamw_epochs=2, sgd_learning_rate=0.5, sgd_momentum=0.8)
    schedule = Schedule(config, 40)
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    assert isinstance(schedule.build_optimizer(parameters), torch.optim.AdamW)
    assert [schedule.finish_epoch(improved=True) for _ in range(4)] == ["continue", "switch", "continue", "continue"]
    optimizer = schedule.build_optimizer(parameters)
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.5, 0.8)
    assert schedule.learning_rate(0) == 0.5
    assert not schedule.finished


def test_plateau_stages_end_after_epochs_without_gain() -> None:
    schedule = Schedule(OptimizationConfig(epochs=99, schedule="plateau", patience=2), 99)
    gains = [True, False, True, False, False, False, True, False, False]
    verdicts = [schedule.finish_epoch(improved=gain) for gain in gains]
    assert verdicts == ["continue"] * 4 + ["switch"] + ["continue"] * 3 + ["stop"]
    assert schedule.finished


def test_schedule_continues_from_its_state() -> None:
    config = OptimizationConfig(epochs=99, schedule="plateau", patience=2)
    schedule, other = Schedule(config, 99), Schedule(config, 99)
    for gain in (True, False, False, False):
        schedule.finish_epoch(improved=gain)
    other.load_state_dict(schedule.state_dict())
    assert other.stage == "sgd"
    assert [s.finish_epoch(improved=False) for s in (schedule, other)] == ["stop", "stop"]
