"""LPIPS against values computed with the authors' own package.

``lpips.json`` names the release. Weights are the sines of ``sines.py``, scaled to keep values near 1, so that the
network is tested without its official weights. Values for the official weights are compared if these are found.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.sines import sines
from wavepaint.metrics.lpips import LPIPS, NETWORKS, Network, load_lpips
from wavepaint.metrics.lpips_weights import ENVIRONMENT_VARIABLE

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "lpips.json").read_text())


def with_sine_weights(network: Network) -> LPIPS:
    module = LPIPS(network).double()
    convolutions = [layer for layer in (*module.trunk, *module.heads) if isinstance(layer, torch.nn.Conv2d)]
    for index, layer in enumerate(convolutions):
        values = sines(tuple(layer.weight.shape), index)
        if layer.bias is None:
            layer.weight.copy_(values.abs())
        else:
            layer.weight.copy_(values * math.sqrt(2 / layer.weight[0].numel()))
            layer.bias.copy_(sines(tuple(layer.bias.shape), index + 0.5) * 0.3)
    return module


@pytest.mark.parametrize("network", NETWORKS)
def test_network_equals_the_authors(network: Network) -> None:
    module = with_sine_weights(network)
    for height, width in ((48, 64), (67, 93)):
        expected = GOLDEN["sines"][f"{network}_{height}x{width}"]
        a = (sines((2, 3, height, width), 0.1) + 1) / 2
        b = sines((2, 3, height, width), 0.3).abs() * 0.5 + a * 0.5
        features = module.features(a)
        assert [float(x.abs().sum()) for x in features] == pytest.approx(expected["feature_abs_sums"], rel=1e-6)
        layers = [layer.mean(dim=(1, 2, 3)) for layer in module.compare(features, module.features(b))]
        assert torch.stack(layers).numpy() == pytest.approx(np.array(expected["layers"]), rel=1e-5)
        assert module(a, b).tolist() == pytest.approx(expected["distance"], rel=1e-6)
        at_pixels = module(a, b, spatial=True)
        assert at_pixels.shape == (2, 1, height, width)
        flat = at_pixels.flatten()
        assert flat[:: flat.numel() // 16][:16].tolist() == pytest.approx(expected["map"], rel=1e-5)


@pytest.mark.skipif(
    not os.environ.get(ENVIRONMENT_VARIABLE), reason=f"needs the official weights: {ENVIRONMENT_VARIABLE} is not set"
)
@pytest.mark.parametrize("network", NETWORKS)
def test_official_weights_give_the_official_values(network: Network, photo: np.ndarray) -> None:
    crop = photo[100:228, 150:278]
    hole = crop / 255
    hole[40:90, 30:100] = 0.5
    images = {"coarse": crop // 32 * 32 / 255, "hole": hole, "dark": crop / 255 * 0.7}
    lpips = load_lpips(network, Path(os.environ[ENVIRONMENT_VARIABLE]))
    target = torch.from_numpy(crop / 255).permute(2, 0, 1)[None].float()
    for name, image in images.items():
        distance = lpips(torch.from_numpy(image).permute(2, 0, 1)[None].float(), target).item()
        # VGG16's weights may be stored as float16 or float32.
        expected = GOLDEN["official"][network][name]
        assert distance == pytest.approx(expected, rel=1e-5 if network == "alexnet" else 1e-3)
