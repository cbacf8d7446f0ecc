"""Hyper-parameters and sizes of the architectures."""

from typing import Any

import pytest
import torch

from wavepaint.errors import ConfigError
from wavepaint.models.registry import build_model, get_architecture


@pytest.mark.parametrize(
    "parameters",
    [{"level": 5}, {"level": 0}, {"final_dim": 10}, {"mult": 0}, {"num_modules": 0}, {"in_channels": 5},
     {"prefill_levels": -1}, {"borrow": True}, {"borrow": 3, "prefill_levels": 5}, {"dropout": 2}, {"level": "abc"},
     {"borrow": True, "prefill_levels": 5, "in_channels": 3}, {"colour": 3},
     {"match": True, "prefill_levels": 5}, {"match": True, "borrow": True, "prefill_levels": 3},
     {"wavelet": "nope"}, {"wavelet": 3}],
)  # fmt: skip
def test_impossible_hyper_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build_model("wavepaint", parameters)


@pytest.mark.parametrize("level", ["abc", "", None, [1], 1.5, -1, 99])
def test_size_multiple_needs_an_integer_level(level: Any) -> None:
    with pytest.raises(ConfigError, match="level"):
        get_architecture("wavepaint").size_multiple({"level": level})


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown architecture 'lemma': expected one of wavepaint"):
        get_architecture("lemma")


@pytest.mark.parametrize(
    ("parameters", "millions"),
    [
        ({"num_modules": 2, "blocks_per_module": 4, "mult": 2}, 3.35),
        ({"num_modules": 4, "blocks_per_module": 4, "mult": 2}, 6.69),
        ({"num_modules": 8, "blocks_per_module": 4, "mult": 4}, 15.49),
    ],
)
def test_parameter_counts_are_the_published_ones(parameters: dict[str, int], millions: float) -> None:
    in_channels = 3 if parameters["num_modules"] == 8 else 4
    with torch.device("meta"):
        model = build_model(
            "wavepaint", {**parameters, "final_dim": 128, "ff_channel": 128, "in_channels": in_channels}
        )
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
