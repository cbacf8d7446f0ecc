"""LaMa against values computed with the authors' own generator, by the FFT and by matrix products.

``lama.json`` says at which commit and how; the recipe is that of ``test_authors.py``, but for the weights, which keep
values near 1: convolutions are sines times sqrt(2 / inputs), scales and variances positive.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.test_authors import sines
from wavepaint.models.lama import LaMa
from wavepaint.models.registry import detect_architecture

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "lama.json").read_text())["cases"]
SMALL: dict[str, Any] = {
    "num_blocks": 2,
    "base_channels": 4,
    "num_downsampling": 3,
    "global_channels": 24,
    "spectral_l2g": False,
}


def with_sine_weights(model: torch.nn.Module) -> torch.nn.Module:
    state = model.double().eval().state_dict()
    for index, (name, tensor) in enumerate(sorted(state.items())):
        if name.endswith("num_batches_tracked"):
            continue
        values = sines(tuple(tensor.shape), index) * (0.3 if tensor.ndim < 4 else math.sqrt(2 / tensor[0].numel()))
        scales = name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1)
        state[name] = values.abs() + 0.5 if scales else values
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("transform", ["fft", "matrices"])
@pytest.mark.parametrize(("height", "width"), [(32, 48), (40, 56)])
def test_the_network_equals_the_authors(
    height: int, width: int, transform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if transform == "matrices":
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        monkeypatch.setattr(torch.fft, "rfft2", None)
    expected = CASES[f"lama_{height}x{width}"]
    model = LaMa(**SMALL)
    assert sorted(model.state_dict()) == expected["names"]
    image = (sines((2, 3, height, width), 0.1) + 1) / 2
    mask = (sines((2, 1, height, width), 0.3) > 0.2).double()
    with torch.no_grad():
        output = with_sine_weights(model)(image, mask)
    flat = output.flatten()
    assert list(output.shape) == expected["shape"]
    assert flat[:: flat.numel() // 16][:16].tolist() == pytest.approx(expected["values"], abs=1e-12, rel=1e-12)
    assert float(flat.abs().sum()) == pytest.approx(expected["abs_sum"], rel=1e-12)


def test_the_released_names_are_recognised() -> None:
    architecture, parameters = detect_architecture(LaMa(**SMALL).state_dict())
    assert (architecture.name, parameters) == ("lama", SMALL)
