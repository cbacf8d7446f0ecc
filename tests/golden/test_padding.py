"""Images of odd sizes against values computed with the authors' own padding and networks; ``padding.json`` says how."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden import test_authors, test_lama
from tests.golden.test_authors import sines
from wavepaint.contract import PadMode
from wavepaint.models.lama import LaMa
from wavepaint.models.network import Network
from wavepaint.models.wavepaint import WavePaint
from wavepaint.runtime.filling.regions import pad_to_multiple

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "padding.json").read_text())["cases"]


def fill(model: Network, size: tuple[int, int], padding: PadMode) -> torch.Tensor:
    """Fill as a bundle is run, with another mode of padding if asked for: (3, H, W)."""
    image, mask = (sines((3, *size), 0.1) + 1) / 2, (sines((1, *size), 0.3) > 0.2).double()
    padded = [pad_to_multiple(x.permute(1, 2, 0).numpy(), model.size_multiple, padding) for x in (image, mask)]
    with torch.no_grad():
        filled = model(*(torch.from_numpy(np.moveaxis(x, 2, 0))[None] for x in padded))
    return filled[0, :, : size[0], : size[1]]  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES)
def test_an_odd_size_is_filled_as_the_authors_fill_it(case: str) -> None:
    name, _, size = case.partition("_")
    height, width = map(int, size.split("x"))
    if name == "lama":
        model, tolerance = test_lama.with_sine_weights(LaMa(**test_lama.SMALL)), 1e-12
    else:
        wavepaint = WavePaint(num_modules=2, blocks_per_module=2, level=3, **test_authors.SMALL)
        model, tolerance = test_authors.with_sine_weights(wavepaint), 1e-5  # the authors' filters are float32
    assert isinstance(model, Network)
    found = fill(model, (height, width), model.padding)
    corner = found[:, -8:, -8:].flatten()[::12][:16]
    assert corner.tolist() == pytest.approx(CASES[case]["values"], abs=tolerance, rel=tolerance)
    assert float(found.abs().sum()) == pytest.approx(CASES[case]["abs_sum"], rel=tolerance)
    assert (found - fill(model, (height, width), "reflect")).abs().max() > 0.01
