"""Every network takes images of its size multiple, the multiple itself included, and names it in errors."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import randomise
from tests.property.networks import inpainting_networks, wavemix_networks
from wavepaint.errors import ImageError
from wavepaint.models.registry import HyperParameters, build_model, get_architecture


@pytest.mark.parametrize(
    ("name", "multiple"),
    [
        ("wavepaint", 4),
        ("lama", 8),
        ("unet", 32),
        ("wavemix-classifier", 4 * 8),
        ("wavemix-segmenter", 4 * 16),
        ("wavemix-super-resolution", 2),
    ],
)
def test_default_networks_have_the_published_multiple(name: str, multiple: int) -> None:
    assert get_architecture(name).size_multiple({}) == multiple


@settings(max_examples=12, deadline=None)
@given(network=inpainting_networks)
def test_inpainting_network_takes_its_multiple_and_refuses_one_less(network: tuple[str, HyperParameters]) -> None:
    name, parameters = network
    model, multiple = randomise(build_model(name, parameters)), get_architecture(name).size_multiple(parameters)
    for height, width in ((multiple, multiple), (multiple, 3 * multiple)):
        with torch.no_grad():
            filled = model(torch.rand(1, 3, height, width), torch.ones(1, 1, height, width))
        assert filled.shape == (1, 3, height, width)
        assert torch.isfinite(filled).all()
    for height, width in ((multiple, multiple - 1), (2 * multiple - 1, multiple)):
        with pytest.raises(ImageError, match=f"height {height} and width {width}: .* multiples of {multiple}"):
            model(torch.rand(1, 3, height, width), torch.ones(1, 1, height, width))


@settings(max_examples=20, deadline=None)
@given(network=wavemix_networks, data=st.data())
def test_wavemix_takes_its_multiple_and_refuses_sizes_that_its_blocks_cannot_halve(
    network: tuple[str, HyperParameters], data: Any
) -> None:
    name, parameters = network
    model, multiple = randomise(build_model(name, parameters)), get_architecture(name).size_multiple(parameters)
    with torch.no_grad():
        assert torch.isfinite(model(torch.rand(1, 3, multiple, 2 * multiple))).all()
        # A stem may round a size between the multiples to one that its blocks can halve.
        smallest = parameters["patch_size"] if parameters["initial_conv"] == "patchify" else 1
        side = data.draw(st.integers(smallest, 2 * multiple))
        features = model.conv(torch.rand(1, 3, side, side)).shape[2]
        if features % 2 ** parameters["level"]:
            with pytest.raises(ImageError, match=f"height {side} and width {side} give .* multiples of {multiple}"):
                model(torch.rand(1, 3, side, side))
        else:
            model(torch.rand(1, 3, side, side))


@pytest.mark.parametrize(("name", "parameters"), [("wavemix-classifier", {}), ("wavemix-segmenter", {"stride": 1})])
def test_wavemix_refuses_one_less_than_its_multiple(name: str, parameters: HyperParameters) -> None:
    model = build_model(name, {**parameters, "final_dim": 8, "depth": 1}).eval()
    side = get_architecture(name).size_multiple(parameters) - 1
    with pytest.raises(ImageError, match=f"height {side} and width {side} give"):
        model(torch.rand(1, 3, side, side))
