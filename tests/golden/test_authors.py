"""The networks against values computed with the authors' own code.

``authors.json`` holds values alone, computed in float64 at the commits it names: weights and inputs are the sines
below, so they need not be stored. The authors' filters are float32 (0.70710677), which limits the agreement.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from wavepaint.models.registry import detect_architecture
from wavepaint.models.wavemix import WaveMixBlock, WaveMixClassifier, WaveMixSegmenter
from wavepaint.models.wavepaint import WavePaint

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "authors.json").read_text())["cases"]
SMALL = {"mult": 2, "ff_channel": 6, "final_dim": 8}


def sines(shape: tuple[int, ...], offset: float) -> torch.Tensor:
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.7 + offset).reshape(shape)


def with_sine_weights(model: torch.nn.Module) -> torch.nn.Module:
    state = model.double().eval().state_dict()
    for index, (name, tensor) in enumerate(sorted(state.items())):
        if not name.endswith("num_batches_tracked"):
            values = sines(tuple(tensor.shape), index) * 0.3
            state[name] = values.abs() + 0.5 if name.endswith("running_var") else values
    model.load_state_dict(state)
    return model


IMAGE = (sines((2, 3, 32, 48), 0.1) + 1) / 2
MASK = (sines((2, 1, 32, 48), 0.3) > 0.2).double()


def check(case: str, model: torch.nn.Module, *inputs: torch.Tensor) -> None:
    expected = CASES[case]
    assert sorted(model.state_dict()) == expected["names"]
    with torch.no_grad():
        output = with_sine_weights(model)(*inputs)
    flat = output.flatten()
    assert list(output.shape) == expected["shape"]
    sampled = flat[:: max(1, flat.numel() // 16)][:16]
    assert sampled.tolist() == pytest.approx(expected["values"], abs=1e-5, rel=1e-5)
    assert float(flat.abs().sum()) == pytest.approx(expected["abs_sum"], rel=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_wavemix_block(level: int) -> None:
    check(f"block_level{level}", WaveMixBlock(**SMALL, level=level), sines((2, 8, 32, 48), 0.5))


@pytest.mark.parametrize("in_channels", [3, 4])
def test_wavepaint(in_channels: int) -> None:
    model = WavePaint(num_modules=2, blocks_per_module=2, in_channels=in_channels, **SMALL)
    check(f"wavepaint_{in_channels}channel", model, IMAGE * (1 - MASK), MASK)


@pytest.mark.parametrize("initial_conv", ["pachify", "strided"])
def test_classifier(initial_conv: Any) -> None:
    model = WaveMixClassifier(num_classes=5, depth=2, level=2, initial_conv=initial_conv, patch_size=4, **SMALL)
    check(f"classifier_{initial_conv}", model, IMAGE)


def test_classifier_of_stride_1() -> None:
    model = WaveMixClassifier(num_classes=5, depth=2, level=2, initial_conv="strided", stride=1, **SMALL)
    check("classifier_stride1", model, IMAGE)


def test_segmenter_as_released_for_cityscapes() -> None:
    model = WaveMixSegmenter(num_classes=5, depth=2, level=2, initial_conv="pachify", head_dim=6, **SMALL)
    check("segmenter_cityscapes", model, IMAGE)


def test_segmenter() -> None:
    check("segmenter", WaveMixSegmenter(num_classes=5, depth=2, level=2, **SMALL), IMAGE)


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("block")])
def test_released_names_are_recognised(case: str) -> None:
    names = CASES[case]["names"]
    family = {"wavepaint": "wavepaint", "classifier": "wavemix-classifier", "segmenter": "wavemix-segmenter"}
    model = {
        "wavepaint_3channel": lambda: WavePaint(num_modules=2, blocks_per_module=2, in_channels=3, **SMALL),
        "wavepaint_4channel": lambda: WavePaint(num_modules=2, blocks_per_module=2, **SMALL),
        "classifier_pachify": lambda: WaveMixClassifier(num_classes=5, depth=2, level=2, **SMALL),
        "classifier_strided": lambda: WaveMixClassifier(
            num_classes=5, depth=2, level=2, initial_conv="strided", **SMALL
        ),
        "classifier_stride1": lambda: WaveMixClassifier(
            num_classes=5, depth=2, level=2, initial_conv="strided", stride=1, **SMALL
        ),
        "segmenter_cityscapes": lambda: WaveMixSegmenter(
            num_classes=5, depth=2, level=2, initial_conv="pachify", head_dim=6, **SMALL
        ),
        "segmenter": lambda: WaveMixSegmenter(num_classes=5, depth=2, level=2, **SMALL),
    }[case]()
    state = {name: model.state_dict()[name] for name in names}
    assert detect_architecture(state)[0].name == family[case.split("_")[0]]
