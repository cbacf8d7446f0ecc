"""The benchmark of training steps: recipes are compared by the time of an epoch and by their peak memory."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import training_step
from tests.networks import BARE
from wavepaint.training.config import TrainConfig
from wavepaint.training.recipes import get_recipe


def make_tiny(name: str) -> TrainConfig:
    return get_recipe(name).change(
        {
            "architecture": "wavepaint",
            "hyper_parameters": BARE,
            "data": {"crop_size": 32, "val_size": 32, "masks": ["squares"]},
            "loss": {"discriminator_channels": 2, "discriminator_layers": 1, "perceptual": 0, "mae": 1},
            "optimization": {"batch_size": 2, "precision": "float32", "monitor": "psnr"},
        }
    )


@pytest.fixture(autouse=True)
def _tiny_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_step, "get_recipe", make_tiny)


def test_recipes_are_compared_by_epoch_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["follow-up-baseline", "follow-up-wgan"]
    monkeypatch.setattr(training_step, "measure_memories", lambda *_: dict(zip(names, (100.0, 150.0), strict=True)))
    arguments = ["-o", str(tmp_path / "out"), "--steps", "1", "--epoch-images", "1000", "--device", "cpu"]
    for name in names:
        arguments += ["--recipe", name]
    result = CliRunner().invoke(training_step.main, arguments)
    assert result.exception is None, result.output
    rows = json.loads((tmp_path / "out" / "training-step.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == names
    # The critic's five steps use five batches, so an epoch of photos has fewer steps.
    for row, crops_per_step in zip(rows, (2, 10), strict=True):
        assert row["epoch_s"] == pytest.approx(1000 / crops_per_step * row["median_ms"] / 1e3)
    assert "| 150 | 1.50 |" in result.output


def test_one_recipe_is_timed_in_several_precisions_and_sizes_can_be_given() -> None:
    variants = training_step.make_variants(["follow-up-wgan"], crop_size=64, batch_size=3)
    assert len(variants) == 4
    for config in variants.values():
        assert (config.data.crop_size, config.optimization.batch_size) == (64, 3)


def test_the_memory_of_steps_is_that_of_their_tensors() -> None:
    # Each in a process of its own: this one may have freed memory, which steps reuse without growth.
    configs = {
        f"{batch} crops of {side}": make_tiny("follow-up-baseline").change(
            {"data": {"crop_size": side, "val_size": side}, "optimization": {"batch_size": batch}}
        )
        for side, batch in ((32, 2), (192, 8))
    }
    small, large = training_step.measure_memories(configs, "cpu", 1).values()
    assert large > small + 10
