"""Weights of LaMa's follow-up, read by this project's LaMa, against values computed with the authors' own network.

``follow_up.json`` names the commit and describes how its values were computed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.sines import make_normalised_sines, sines
from wavepaint.errors import CheckpointError
from wavepaint.weights.checkpoint import read_checkpoint

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "follow_up.json").read_text())["cases"]


def make_state(case: str) -> dict[str, torch.Tensor]:
    shapes = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in CASES[case]["shapes"].items()}
    return make_normalised_sines(shapes)


@pytest.mark.parametrize(("case", "spectral"), [("baseline", False), ("conv_change", True)])
def test_network_equals_the_authors(case: str, spectral: bool, tmp_path: Path) -> None:
    torch.save(make_state(case), tmp_path / "model17epochs.pth")
    checkpoint = read_checkpoint(tmp_path / "model17epochs.pth")
    assert checkpoint.architecture.name == "lama"
    assert checkpoint.parameters == {
        "num_blocks": 2,
        "base_channels": 4,
        "num_downsampling": 3,
        "global_channels": 19,
        "spectral_l2g": spectral,
        "zero_padding": True,
    }
    image, mask = (sines((2, 3, 40, 48), 0.1) + 1) / 2, (sines((2, 1, 40, 48), 0.3) > 0.2).double()
    with torch.no_grad():
        flat = checkpoint.build().double()(image, mask, keep_known=False).flatten()
    # Checkpoints are read into float32 networks, so the weights are rounded once.
    assert flat[:: flat.numel() // 16][:16].tolist() == pytest.approx(CASES[case]["values"], abs=1e-5)
    assert float(flat.abs().sum()) == pytest.approx(CASES[case]["abs_sum"], rel=1e-6)


@pytest.mark.parametrize(
    ("entry", "shape", "message"),
    [
        ("up.1.running_var", None, "up.1.running_var is missing"),
        ("ffcs.1.conv.bn_g.running_mean", (3,), "ffcs.1.conv.bn_g.running_mean has shape .3,., expected .19,."),
        ("ffcs.0.conv.conv_gg.conv2.weight", (2, 2), "do not fit"),
        ("down.10.weight", (32,), "do not fit|has shape"),
    ],
)
def test_damaged_weights_are_refused(entry: str, shape: tuple[int, ...] | None, message: str, tmp_path: Path) -> None:
    state = make_state("baseline")
    if shape is None:
        del state[entry]
    else:
        state[entry] = torch.zeros(shape)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "weights.pth").build()
