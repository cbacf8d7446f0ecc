"""LaMa and the custom CNN: their published sizes, special sizes of images, and refused hyper-parameters."""

from typing import Any

import pytest
import torch

from tests.conftest import randomise
from wavepaint.errors import ConfigError
from wavepaint.models.lama import LaMa, LaMaConfig
from wavepaint.models.registry import build_model, get_architecture

SMALL_LAMA = {"num_blocks": 1, "base_channels": 4, "global_channels": 20}


@pytest.mark.parametrize(
    ("name", "parameters", "count"),
    [
        ("lama", {}, 27_048_835),
        ("lama", {"num_blocks": 18}, 50_975_875),
        ("unet", {}, 11_865_315),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, parameters: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        model = build_model(name, parameters)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_lama_extends_a_side_of_one_feature_by_its_last_pixels() -> None:
    model = randomise(build_model("lama", SMALL_LAMA))
    image, mask = torch.rand(1, 3, 8, 24), (torch.rand(1, 1, 8, 24) > 0.5).float()
    extended = [torch.cat([x, x[:, :, -1:].expand(-1, -1, 8, -1)], dim=2) for x in (image, mask)]
    with torch.no_grad():
        assert torch.equal(model(image, mask), model(*extended)[:, :, :8])


def test_spectral_variant_sees_the_whole_image_from_its_local_channels() -> None:
    """A convolution spreads a change within its reach, a spectral transform everywhere."""
    reached = {}
    for spectral in (False, True):
        model = randomise(LaMa(LaMaConfig(num_blocks=1, base_channels=4, global_channels=20, spectral_l2g=spectral)))
        layer = model.model[5].conv1.ffc
        local_maps, global_maps = torch.rand(1, 12, 9, 9).repeat(2, 1, 1, 1), torch.zeros(2, 20, 9, 9)
        local_maps[1, :, 0, 0] += 1
        with torch.no_grad():
            _, to_global = layer(local_maps, global_maps)
        reached[spectral] = bool((to_global[0] - to_global[1]).abs()[:, 5:, 5:].max() > 1e-6)
    assert reached == {False: False, True: True}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("lama", {"num_blocks": 0}, "num_blocks is 0: expected 1 or more"),
        ("lama", {"num_downsampling": 0}, "num_downsampling is 0: expected 1 to 10"),
        ("lama", {"global_channels": 512}, "global_channels is 512: expected 2 to 511"),
        ("lama", {"global_channels": 1}, "global_channels is 1"),
        ("lama", {"ratio": 0.75}, "unknown hyper-parameter 'ratio' of lama: expected num_blocks"),
        ("unet", {"base_channels": 0}, "base_channels is 0: expected 1 or more"),
    ],
)
def test_impossible_hyper_parameters_are_refused(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(name, parameters)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lama", {**SMALL_LAMA, "num_blocks": 2, "global_channels": 24}), ("unet", {"base_channels": 4})],
)
def test_training_reaches_every_parameter(name: str, parameters: dict[str, Any]) -> None:
    model = build_model(name, parameters).train()
    side = 2 * get_architecture(name).size_multiple(parameters)
    mask = (torch.rand(2, 1, side, side) > 0.5).float()
    model(torch.rand(2, 3, side, side), mask).square().mean().backward()
    for entry, parameter in model.named_parameters():
        assert parameter.grad is not None, entry
        assert parameter.grad.abs().max() > 0, entry
