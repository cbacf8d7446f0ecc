"""WavePaint and WaveMix-Inpainting: the size at which blocks work, sizes of images, and the named network of 14 M."""

import pytest
import torch
from torch import nn

from wavepaint.bench.entrants import BASELINES
from wavepaint.errors import ConfigError
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.fusion.wavemix import FusedFullSizeStem
from wavepaint.models.registry import build_model, get_architecture

LITTLE = {"num_modules": 1, "blocks_per_module": 1, "final_dim": 8, "ff_channel": 4}


@pytest.mark.parametrize(("input_reduction", "side"), [(True, 16), (False, 32)])
def test_blocks_work_at_half_size_unless_input_reduction_is_off(input_reduction: bool, side: int) -> None:
    model = build_model("wavepaint", {**LITTLE, "level": 2, "input_reduction": input_reduction})
    seen: list[torch.Size] = []
    layers = model.get_submodule("wavemodules.0.layers.0")
    layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    output = model(torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32))
    assert seen == [(1, 8, side, side)]
    assert output.shape == (1, 3, 32, 32)


def test_images_may_have_smaller_multiples_without_input_reduction() -> None:
    multiples = [
        [get_architecture("wavepaint").size_multiple({"level": n, "input_reduction": on}) for n in (1, 2, 3, 4)]
        for on in (True, False)
    ]
    assert multiples == [[4, 8, 16, 32], [4, 4, 8, 16]]
    with pytest.raises(ConfigError, match="input_reduction is 1: expected true or false"):
        get_architecture("wavepaint").make_config({"input_reduction": 1})


def test_without_input_reduction_the_stem_becomes_one_convolution_too() -> None:
    model = build_model("wavepaint", {**LITTLE, "final_dim": 32, "input_reduction": False}).eval()
    (stem,) = [module for module in fuse(model).modules() if isinstance(module, FusedFullSizeStem)]
    convolution = stem.composed
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.kernel_size, convolution.stride) == ((5, 5), (1, 1))


def test_wavemix_inpainting_has_the_documented_number_of_parameters() -> None:
    architecture, parameters = BASELINES["wavemix-inpainting"]
    with torch.device("meta"):
        network = build_model(architecture, parameters)
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_882_060
