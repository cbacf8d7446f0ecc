"""The distributions of LaMa's masks against statistics of masks that LaMa's own code drew with OpenCV.

``lama_masks.json`` names the commit and the settings. For each of 1,000 masks of a kind it contains the hole's pixels,
the steps of its outline, its connected parts (diagonal neighbours count) and its corners (points of the pixel grid with
one or three hole pixels among the four around them). Boxes have few corners, strokes have many.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import fisher_exact, ks_2samp

from wavepaint.data.masks import MASK_KINDS, MaskSampler

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "lama_masks.json").read_text())["kinds"]
STATISTICS = ("hole_pixels", "edge_length", "components", "corners")
NUM_DRAWN, LEAST_P = 300, 0.01
MAX_BOX_CORNERS = 25


def measure(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    outline = int(np.count_nonzero(np.diff(mask, axis=0)) + np.count_nonzero(np.diff(mask, axis=1)))
    around = mask[1:, 1:] + mask[1:, :-1] + mask[:-1, 1:] + mask[:-1, :-1]
    return int(mask.sum()), outline, cv2.connectedComponents(mask)[0] - 1, int(np.count_nonzero(around % 2))


@pytest.fixture(scope="module", params=[*MASK_KINDS, "lama-training"])
def kind_and_drawn(request: pytest.FixtureRequest) -> tuple[str, dict[str, list[int]]]:
    sampler, rng = MaskSampler((request.param,)), np.random.default_rng(0)
    rows = [measure(sampler(256, 256, rng)) for _ in range(NUM_DRAWN)]
    return request.param, {name: list(row) for name, row in zip(STATISTICS, zip(*rows, strict=True), strict=True)}


@pytest.mark.parametrize("statistic", STATISTICS)
def test_masks_are_distributed_as_in_lama(kind_and_drawn: tuple[str, dict[str, list[int]]], statistic: str) -> None:
    kind, drawn = kind_and_drawn
    assert ks_2samp(drawn[statistic], GOLDEN[kind][statistic]).pvalue > LEAST_P


def test_mean_hole_and_share_of_boxes_are_as_in_lama(kind_and_drawn: tuple[str, dict[str, list[int]]]) -> None:
    kind, drawn = kind_and_drawn
    assert np.mean(drawn["hole_pixels"]) == pytest.approx(np.mean(GOLDEN[kind]["hole_pixels"]), abs=0.03 * 256**2)
    num_boxes = np.count_nonzero(np.less_equal(drawn["corners"], MAX_BOX_CORNERS))
    counts = [
        [number, total - number] for number, total in ((num_boxes, NUM_DRAWN), (GOLDEN[kind]["num_boxes"], 1_000))
    ]
    assert fisher_exact(counts).pvalue > LEAST_P


def test_corners_distinguish_boxes_from_strokes() -> None:
    for kind in GOLDEN.values():
        assert np.count_nonzero(np.less_equal(kind["corners"], MAX_BOX_CORNERS)) == kind["num_boxes"]
