"""The networks against values computed with the authors' own code.

``authors.json`` contains only values, computed in float64 at the commits it names, with the weights and inputs of
``sines.py``. The authors' filters are float32 (0.70710677), which limits the agreement.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.sines import set_sine_weights, sines
from wavepaint.models.architecture_detection import detect_architecture
from wavepaint.models.registry import HyperParameters, build_model
from wavepaint.models.wavemix import BlockConfig, WaveMixBlock

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "authors.json").read_text())["cases"]
SMALL = {"mult": 2, "ff_channel": 6, "final_dim": 8}
TWO_MODULES: HyperParameters = {**SMALL, "num_modules": 2, "blocks_per_module": 2}
FIVE_CLASSES: HyperParameters = {**SMALL, "num_classes": 5, "depth": 2, "level": 2}
NETWORKS: dict[str, tuple[str, HyperParameters]] = {
    "wavepaint_3channel": ("wavepaint", {**TWO_MODULES, "in_channels": 3}),
    "wavepaint_4channel": ("wavepaint", TWO_MODULES),
    "classifier_pachify": ("wavemix-classifier", {**FIVE_CLASSES, "initial_conv": "pachify"}),
    "classifier_strided": ("wavemix-classifier", {**FIVE_CLASSES, "initial_conv": "strided"}),
    "classifier_stride1": ("wavemix-classifier", {**FIVE_CLASSES, "initial_conv": "strided", "stride": 1}),
    "segmenter": ("wavemix-segmenter", FIVE_CLASSES),
    "segmenter_cityscapes": ("wavemix-segmenter", {**FIVE_CLASSES, "initial_conv": "pachify", "head_dim": 6}),
    "super_resolution_level1": ("wavemix-super-resolution", {**SMALL, "depth": 2}),
    "super_resolution_level2": ("wavemix-super-resolution", {**SMALL, "depth": 2, "level": 2}),
}
IMAGE = (sines((2, 3, 32, 48), 0.1) + 1) / 2
MASK = (sines((2, 1, 32, 48), 0.3) > 0.2).double()


def check(case: str, model: torch.nn.Module, *inputs: torch.Tensor) -> None:
    expected = CASES[case]
    assert sorted(model.state_dict()) == expected["names"]
    with torch.no_grad():
        output = set_sine_weights(model)(*inputs)
    flat = output.flatten()
    assert list(output.shape) == expected["shape"]
    sampled = flat[:: max(1, flat.numel() // 16)][:16]
    assert sampled.tolist() == pytest.approx(expected["values"], abs=1e-5, rel=1e-5)
    assert float(flat.abs().sum()) == pytest.approx(expected["abs_sum"], rel=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_block_equals_the_authors(level: int) -> None:
    check(f"block_level{level}", WaveMixBlock(BlockConfig(**SMALL, level=level)), sines((2, 8, 32, 48), 0.5))


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("block")])
def test_network_equals_the_authors_and_its_names_are_recognised(case: str) -> None:
    architecture, parameters = NETWORKS[case]
    model = build_model(architecture, parameters)
    assert detect_architecture(model.state_dict())[0].name == architecture
    check(case, model, *((IMAGE * (1 - MASK), MASK) if architecture == "wavepaint" else (IMAGE,)))
