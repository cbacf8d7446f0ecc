"""LaMa against values computed with the authors' own generator, through the FFT and through matrix products.

``lama.json`` names the commit and describes how its values were computed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.sines import set_normalised_sine_weights, sines
from wavepaint.models.architecture_detection import detect_architecture
from wavepaint.models.registry import build_model

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "lama.json").read_text())["cases"]
SMALL: dict[str, Any] = {
    "num_blocks": 2,
    "base_channels": 4,
    "num_downsampling": 3,
    "global_channels": 24,
    "spectral_l2g": False,
}


@pytest.mark.parametrize("transform", ["fft", "matrices"])
@pytest.mark.parametrize(("height", "width"), [(32, 48), (40, 56)])
def test_network_equals_the_authors(height: int, width: int, transform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if transform == "matrices":
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        monkeypatch.setattr(torch.fft, "rfft2", None)
    expected = CASES[f"lama_{height}x{width}"]
    model = build_model("lama", SMALL)
    assert sorted(model.state_dict()) == expected["names"]
    image = (sines((2, 3, height, width), 0.1) + 1) / 2
    mask = (sines((2, 1, height, width), 0.3) > 0.2).double()
    with torch.no_grad():
        output = set_normalised_sine_weights(model)(image, mask)
    flat = output.flatten()
    assert list(output.shape) == expected["shape"]
    assert flat[:: flat.numel() // 16][:16].tolist() == pytest.approx(expected["values"], abs=1e-12, rel=1e-12)
    assert float(flat.abs().sum()) == pytest.approx(expected["abs_sum"], rel=1e-12)


def test_released_names_are_recognised() -> None:
    architecture, parameters = detect_architecture(build_model("lama", SMALL).state_dict())
    assert (architecture.name, parameters) == ("lama", SMALL)
