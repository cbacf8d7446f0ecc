"""Small training runs: configurations, a reporter that records, and comparisons of states."""

import json
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tests.networks import BARE
from wavepaint.training.config import TrainConfig
from wavepaint.training.data_config import DataConfig
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.reporter import EpochReport, Reporter, RunFacts
from wavepaint.training.validator import ValidationMetrics

CONFIG = TrainConfig(
    recipe="test",
    hyper_parameters=BARE,
    # Squares fit small crops. LaMa's strokes cover too much of them, and most draws would be rejected.
    data=DataConfig(crop_size=32, val_size=32, masks=("squares",), val_masks=("squares",), workers=0),
    loss=LossConfig(hole_l1=1.0, ssim=0.3),
    optimization=OptimizationConfig(batch_size=4, steps=6, steps_per_epoch=3, warmup_steps=2, clip_norm=1.0,
                                    precision="float32"),
)  # fmt: skip
"""Two epochs of three steps."""

EVERYTHING = CONFIG.change(
    {
        "hyper_parameters": {"dropout": 0.3},
        "data": {"crop_size": 40, "colour": 0.2, "perspective": 0.05, "masks": ["boxes", "squares", "polygons"]},
        "loss": {
            "adversarial_kind": "non-saturating",
            "adversarial": 0.1,
            "feature_matching": 1.0,
            "r1": 0.001,
            "discriminator_channels": 4,
            "discriminator_layers": 2,
            "penalty_every": 2,
            "jitter": 4,
        },
        "optimization": {"accumulate": 2, "ema_decay": 0.9, "save_every": 2, "monitor": "ssim"},
    }
)
"""A run with every part whose state a checkpoint stores."""


class Recorder(Reporter):
    """A reporter that records what a run reports."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.early: dict[int, ValidationMetrics] = {}
        self.epochs: list[EpochReport] = []

    def on_start(self, config: TrainConfig, facts: RunFacts) -> None:
        self.facts = facts

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        assert 0 < images_per_s < 1e6
        self.losses.append(loss)

    def on_validation(self, step: int, metrics: ValidationMetrics) -> None:
        self.early[step] = metrics

    def on_epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def assert_same_state(a: Any, b: Any, name: str = "") -> None:
    """Compare nested states bit for bit, except for times."""
    assert type(a) is type(b), name
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    elif isinstance(a, Mapping):
        assert a.keys() == b.keys(), name
        for key in a.keys() - {"seconds", "waited"}:
            assert_same_state(a[key], b[key], f"{name}/{key}")
    elif isinstance(a, (list, tuple)):
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same_state(*pair, f"{name}/{index}")
    else:
        assert a == b, name


@contextmanager
def limit_file_size(num_bytes: int) -> Iterator[None]:
    """Make writes beyond a file size fail, as they do on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
