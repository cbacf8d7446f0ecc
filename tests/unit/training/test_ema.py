"""The moving average of the weights."""

import pytest
import torch

from wavepaint.training.ema import EMA


def test_average_follows_the_formula_and_copies_counters() -> None:
    model = torch.nn.BatchNorm1d(1)
    ema = EMA(model, decay=0.9)
    expected = 1.0
    for step in range(200):
        with torch.no_grad():
            model.weight.fill_(float(step))
        model.num_batches_tracked.fill_(step)
        ema.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert ema.model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert ema.model.num_batches_tracked.item() == 199
