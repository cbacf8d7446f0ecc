"""LPIPS as a loss. ``tests/golden`` compares its values with the authors'."""

import pytest
import torch

from tests.networks import make_random_lpips
from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips import LPIPS, NETWORKS, Network, average_and_add


def images(seed: int = 0, *, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 2, 3, side, side, generator=generator)
    return a, b


@pytest.mark.parametrize("network", NETWORKS)
def test_only_equal_images_have_no_distance(network: Network) -> None:
    lpips = make_random_lpips(network)
    a, b = images()
    assert lpips(a, a).tolist() == [0, 0]
    assert (lpips(a, b) > 0).all()
    assert lpips(a, b).tolist() == pytest.approx(lpips(b, a).tolist(), rel=1e-5)


def test_distances_of_a_batch_equal_those_of_its_images(alexnet: LPIPS) -> None:
    a, b = images()
    singly = [alexnet(a[i : i + 1], b[i : i + 1]).item() for i in range(2)]
    assert alexnet(a, b).tolist() == pytest.approx(singly, rel=1e-5)


def test_only_the_first_image_gets_gradients(alexnet: LPIPS) -> None:
    a, b = (image.requires_grad_() for image in images())
    alexnet.train()(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert b.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in alexnet.parameters())


def test_gradient_equals_finite_differences() -> None:
    lpips = make_random_lpips("alexnet").double()
    a, b = (image[:1, :, :31, :31].double() for image in images())
    direction = images(1)[0][:1, :, :31, :31].double() - 0.5
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(lpips(a, b).sum(), a)
    step = 1e-6
    with torch.no_grad():
        slope = (lpips(a + step * direction, b) - lpips(a - step * direction, b)).sum() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


def test_gradients_are_finite_where_no_channel_is_active(alexnet: LPIPS) -> None:
    """There the norm of the features is 0, and the derivative of a square root is infinite."""
    a, b = images()
    filled = a.clone()
    filled[..., :40, :] = alexnet.mean[0]  # the trunk sees 0
    filled.requires_grad_()
    lpips = make_random_lpips("alexnet")
    for layer in lpips.trunk:
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None:
            layer.bias.fill_(-0.2)
    dead = [(layer == 0).all(dim=1) for layer in lpips.features(filled)]
    assert any(layer.any() and not layer.all() for layer in dead)
    lpips(filled, b).sum().backward()
    assert filled.grad is not None
    assert filled.grad.isfinite().all()
    assert filled.grad.abs().sum() > 0

    empty = [torch.zeros_like(layer).requires_grad_() for layer in lpips.features(a)]
    for layer in lpips.compare(empty, lpips.features(b)):
        layer.sum().backward()
    for leaf in empty:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("network", NETWORKS)
def test_autocast_changes_little(network: Network) -> None:
    lpips = make_random_lpips(network)
    a, b = images()
    with torch.autocast("cpu", torch.bfloat16):
        distance = lpips(a, b)
    assert distance.dtype == torch.float32
    assert distance.tolist() == pytest.approx(lpips(a, b).tolist(), rel=0.05)


def test_map_shows_where_images_differ(alexnet: LPIPS) -> None:
    a, _ = images(side=128)
    b = a.clone()
    b[:, :, 16:32, 80:112] = 0.5
    at_pixels = alexnet(a, b, spatial=True)
    assert at_pixels.shape == (2, 1, 128, 128)
    assert at_pixels[:, :, 16:32, 80:112].mean() > 10 * at_pixels[:, :, 96:, :32].mean()
    maps = alexnet.compare(alexnet.features(a), alexnet.features(b))
    assert average_and_add(maps).tolist() == pytest.approx(alexnet(a, b).tolist(), rel=1e-6)


@pytest.mark.parametrize(("network", "side"), [("alexnet", 31), ("vgg16", 16)])
def test_images_too_small_for_the_trunk_are_refused(network: Network, side: int) -> None:
    lpips = LPIPS(network)
    a, b = images(side=side)
    assert lpips(a, b).isfinite().all()
    with pytest.raises(ConfigError, match=f"at least {side} pixels per side"):
        lpips(a[..., 1:], b[..., 1:])


def test_bad_shapes_and_networks_are_refused(alexnet: LPIPS) -> None:
    a, b = images()
    with pytest.raises(ConfigError, match=r"\(2, 3, 64, 64\) and \(1, 3, 64, 64\)"):
        alexnet(a, b[:1])
    with pytest.raises(ConfigError, match=r"expected \(N, 3, H, W\)"):
        alexnet(a[:, :1], b[:, :1])
    with pytest.raises(ConfigError, match="--lpips-network is 'squeezenet': expected one of alexnet, vgg16"):
        LPIPS("squeezenet")  # type: ignore[arg-type]
