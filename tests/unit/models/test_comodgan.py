"""CoModGAN: its published size, StyleGAN2's modulated convolution, and one size of images."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wavepaint.errors import ConfigError, ImageError
from wavepaint.models.architecture_detection import detect_architecture
from wavepaint.models.comodgan import Convolution, ModulatedKernel
from wavepaint.models.registry import build_model, get_architecture

SMALL: dict[str, Any] = {"resolution": 16, "base_channels": 4, "max_channels": 8}


@pytest.mark.parametrize(
    ("parameters", "count"),
    [({}, 79_792_231), ({"resolution": 256, "base_channels": 128}, 79_177_378)],
)
def test_the_generator_has_the_size_of_the_authors(parameters: dict[str, int], count: int) -> None:
    """With the discriminator of 28,982,913 parameters, the network for 512 pixels has the 109 M that papers state."""
    with torch.device("meta"):
        model = build_model("comodgan", parameters)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def smooth(x: Tensor, pads: tuple[int, int], gain: float) -> Tensor:
    """Apply StyleGAN2's low-pass filter as its definition: pad with zeros, then correlate."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = gain * torch.outer(line, line)[None, None]
    padded = F.pad(x, (*pads, *pads))
    return torch.cat([F.conv2d(channel, kernel) for channel in padded.split(1, dim=1)], dim=1)


@pytest.mark.parametrize("doubles", [False, True])
def test_scaled_activations_equal_the_scaled_weights_of_stylegan2(doubles: bool) -> None:
    """arXiv 1912.04958, equations 1 and 3: each image has weights of its own."""
    torch.manual_seed(0)
    layer = ModulatedKernel(5, 7, 12 if doubles else 6, doubles=doubles).double()
    torch.nn.init.constant_(layer.noise_strength, 0.3)
    torch.nn.init.normal_(layer.bias)
    x, style = torch.randn(2, 5, 6, 6, dtype=torch.float64), torch.randn(2, 5, 1, 1, dtype=torch.float64)
    weight = layer.weight.transpose(0, 1) if doubles else layer.weight
    expected = []
    for image, scales in zip(x, style, strict=True):
        own = weight * scales[:, 0, 0][None, :, None, None]
        own = own / torch.sqrt(own.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if doubles:
            large = F.conv_transpose2d(image[None], own.transpose(0, 1), stride=2)
            convolved = smooth(large.float(), (1, 1), 4.0).double()
        else:
            convolved = F.conv2d(image[None], own, padding=1)
        shifted = convolved + 0.3 * layer.noise + layer.bias[None, :, None, None]
        expected.append(F.leaky_relu(shifted, 0.2) * math.sqrt(2))
    with torch.no_grad():
        assert torch.allclose(layer(x, style), torch.cat(expected), atol=1e-5)


def test_a_layer_that_halves_smooths_first() -> None:
    torch.manual_seed(0)
    layer = Convolution(3, 4, 3, halves=True)
    x = torch.randn(1, 3, 8, 8)
    expected = F.conv2d(smooth(x, (2, 2), 1.0), layer.weight, layer.bias, stride=2)
    with torch.no_grad():
        assert torch.allclose(layer(x), F.leaky_relu(expected, 0.2) * math.sqrt(2), atol=1e-6)
        assert layer(x).shape == (1, 4, 4, 4)


def test_known_pixels_stay_and_hole_and_image_reach_the_result() -> None:
    torch.manual_seed(0)
    model = build_model("comodgan", SMALL).eval()
    image, mask = torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 3:12] = 1
    with torch.no_grad():
        filled = model(image, mask)
        assert torch.equal(filled[mask.expand_as(image) == 0], image[mask.expand_as(image) == 0])
        assert torch.equal(model(image * (1 - mask), mask), filled)  # the hole's content is never seen
        assert torch.allclose(model(image[1:], mask[1:]), filled[1:], atol=1e-5)  # one latent code for all images
        assert not torch.allclose(model(image.flip(0), mask)[1, :, 4:9, 3:12], filled[1, :, 4:9, 3:12], atol=1e-2)


def test_other_sizes_are_refused() -> None:
    model = build_model("comodgan", SMALL)
    with pytest.raises(ImageError, match="takes 16 by 16 only"):
        model(torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
    assert get_architecture("comodgan").find_limits(SMALL) == ((1, 16, 16), (1024, 16, 16))
    assert get_architecture("lama").find_limits({}) is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"resolution": 48}, "resolution is 48: expected a power of two"),
        ({"resolution": 4}, "resolution is 4: expected 8 to 1024"),
        ({"base_channels": 0}, "base_channels is 0"),
    ],
)
def test_impossible_hyper_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model("comodgan", parameters)


def test_its_hyper_parameters_are_found_in_a_state_dict() -> None:
    architecture, found = detect_architecture(build_model("comodgan", SMALL).state_dict())
    assert (architecture.name, found) == ("comodgan", SMALL)
    assert architecture.is_comparator


def test_training_reaches_every_parameter() -> None:
    model = build_model("comodgan", SMALL).train()
    model(torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)).square().mean().backward()
    for entry, parameter in model.named_parameters():
        assert parameter.grad is not None, entry
        assert parameter.grad.abs().max() > 0, entry
