"""Images of odd sizes against values computed with the authors' own padding and networks.

``padding.json`` describes how its values were computed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.sines import set_normalised_sine_weights, set_sine_weights, sines
from wavepaint.contract import PadMode
from wavepaint.models.network import Network
from wavepaint.models.registry import build_model
from wavepaint.runtime.filling.padding import pad_to_multiple

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "padding.json").read_text())["cases"]
LAMA: dict[str, Any] = {"num_blocks": 2, "base_channels": 4, "num_downsampling": 3, "global_channels": 24}
WAVEPAINT: dict[str, Any] = {
    "num_modules": 2, "blocks_per_module": 2, "level": 3, "mult": 2, "ff_channel": 6, "final_dim": 8,
}  # fmt: skip


def fill(model: Network, size: tuple[int, int], padding: PadMode) -> torch.Tensor:
    """Fill an image as the runtime does, with any padding: (3, H, W)."""
    image, mask = (sines((3, *size), 0.1) + 1) / 2, (sines((1, *size), 0.3) > 0.2).double()
    padded = [pad_to_multiple(x.permute(1, 2, 0).numpy(), model.size_multiple, padding) for x in (image, mask)]
    with torch.no_grad():
        filled = model(*(torch.from_numpy(np.moveaxis(x, 2, 0))[None] for x in padded))
    return filled[0, :, : size[0], : size[1]]  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES)
def test_image_of_odd_size_is_filled_as_by_the_authors(case: str) -> None:
    name, _, size = case.partition("_")
    height, width = map(int, size.split("x"))
    if name == "lama":
        model, tolerance = build_model("lama", LAMA), 1e-12
        set_normalised_sine_weights(model)
    else:
        model, tolerance = build_model("wavepaint", WAVEPAINT), 1e-5  # the authors' filters are float32
        set_sine_weights(model)
    found = fill(model, (height, width), model.padding)
    corner = found[:, -8:, -8:].flatten()[::12][:16]
    assert corner.tolist() == pytest.approx(CASES[case]["values"], abs=tolerance, rel=tolerance)
    assert float(found.abs().sum()) == pytest.approx(CASES[case]["abs_sum"], rel=tolerance)
    assert (found - fill(model, (height, width), "reflect")).abs().max() > 0.01
