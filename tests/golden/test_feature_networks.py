"""The networks of the Frechet distance against values of pytorch-fid's and torchvision's own code.

``feature_networks.json`` names the releases. The weights are the sines of ``sines.py``.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.sines import set_normalised_sine_weights, sines
from wavepaint.metrics.inception import Inception
from wavepaint.metrics.mobilenet import MobileNetV2

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "feature_networks.json").read_text())["cases"]


@pytest.mark.parametrize(("name", "network", "step"), [("inception", Inception, 64), ("mobilenet", MobileNetV2, 40)])
def test_features_are_those_of_the_authors_code(name: str, network: type[torch.nn.Module], step: int) -> None:
    image = (sines((1, 3, 40, 56), 0.1) + 1) / 2
    with torch.no_grad():
        features = set_normalised_sine_weights(network())(image)[0]
    expected = GOLDEN[name]
    torch.testing.assert_close(features[::step], torch.tensor(expected["values"], dtype=torch.float64))
    assert features.mean().item() == pytest.approx(expected["mean"])
    assert features.std().item() == pytest.approx(expected["std"])
