"""The discriminator: its published sizes, its patch, the mask it sees, and refused arguments."""

import itertools

import pytest
import torch
from torch import nn

from tests.unit.training.losses.images import tensors
from wavepaint.errors import ConfigError
from wavepaint.training.losses.discriminator import PatchDiscriminator


@pytest.mark.parametrize(("num_layers", "seen"), [(3, 70), (4, 142)])
def test_patch_has_the_size_of_the_paper(num_layers: int, seen: int) -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=2, num_layers=num_layers, norm="none").double()
    image = torch.rand(1, 3, 320, 320, dtype=torch.float64, requires_grad=True)
    judgement, features = discriminator(image)
    assert len(features) == num_layers + 1
    middle = judgement.shape[2] // 2
    (gradient,) = torch.autograd.grad(judgement[0, 0, middle, middle], image)
    rows = gradient[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    columns = gradient[0].abs().sum(dim=(0, 1)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == seen
    assert len(rows) == len(columns) == seen


def test_discriminator_has_the_size_of_pix2pixs() -> None:
    """4x4 convolutions with biases between 3, 64, 128, 256, 512 and 1 channels, and three BatchNorms."""
    widths = [3, 64, 128, 256, 512, 1]
    expected = sum(16 * a * b + b for a, b in itertools.pairwise(widths)) + 2 * (128 + 256 + 512)
    assert sum(p.numel() for p in PatchDiscriminator().parameters()) == expected
    norms = [layer for layer in PatchDiscriminator().modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [128, 256, 512]


def test_discriminator_with_four_channels_sees_the_mask() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(4, channels=2, norm="none")
    output, _, mask = tensors()
    assert not torch.equal(discriminator(output, mask)[0], discriminator(output, 1 - mask)[0])
    with pytest.raises(ConfigError, match="got no mask"):
        discriminator(output)


@pytest.mark.parametrize("arguments", [{"in_channels": 5}, {"channels": 0}, {"num_layers": 0}, {"norm": "group"}])
def test_bad_discriminator_arguments_are_refused(arguments: dict[str, int]) -> None:
    (value,) = arguments.values()
    with pytest.raises(ConfigError, match=str(value)):
        PatchDiscriminator(**arguments)  # type: ignore[arg-type]
