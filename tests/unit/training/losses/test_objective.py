"""The sum of the weighted losses."""

import numpy as np
import pytest
import torch

from tests.unit.training.losses.images import HOLE, SIDE, tensors
from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips import LPIPS
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.losses import reconstruction
from wavepaint.training.losses.adversarial import (
    NonSaturatingLoss,
    WassersteinLoss,
    make_adversarial_loss,
)
from wavepaint.training.losses.discriminator import make_discriminator
from wavepaint.training.losses.objective import HOLE_MARGIN, Objective
from wavepaint.training.recipes import HYBRID, LAMA, RESOURCE_EFFICIENT, WASSERSTEIN


def test_objective_is_the_sum_of_its_weighted_terms(alexnet: LPIPS) -> None:
    output, target, mask = tensors()
    filled = reconstruction.composite(output, target, mask)
    with torch.no_grad():
        expected = {
            "ssim": 1 - reconstruction.ssim(filled, target),
            "mae": reconstruction.l1(filled, target),
            "mse": reconstruction.l2(filled, target),
            "hole_l1": reconstruction.hole_l1(output, target, mask),
            "known_l1": reconstruction.known_l1(output, target, mask),
            "lpips": alexnet(filled, target).mean(),
            "lpips_hole": reconstruction.mean_around_hole(
                alexnet(filled, target, spatial=True), mask, margin=HOLE_MARGIN
            ),
            "perceptual": reconstruction.feature_distance(alexnet.features(filled), alexnet.features(target)),
        }
    weights = {name: 0.5 + index for index, name in enumerate(expected)}
    total, parts = Objective(LossConfig(**weights), alexnet)(output, target, mask)
    assert parts.keys() == expected.keys()
    for name, part in parts.items():
        assert part.item() == pytest.approx(weights[name] * expected[name].item(), rel=1e-5), name
        assert part.item() > 0
        assert not part.requires_grad
    assert total.item() == pytest.approx(sum(part.item() for part in parts.values()), rel=1e-5)


def test_losses_without_weight_are_not_computed(alexnet: LPIPS) -> None:
    output, target, mask = tensors()
    for name in ("mae", "lpips", "perceptual"):
        _, parts = Objective(LossConfig(**{name: 1.0}), alexnet)(output, target, mask)
        assert parts.keys() == {name}
    assert Objective(LossConfig(mae=1), alexnet).lpips is None


def test_objectives_of_the_papers(alexnet: LPIPS) -> None:
    output, target, mask = tensors()
    output = reconstruction.composite(output, target, mask)
    total, _ = Objective(HYBRID, alexnet)(output, target, mask)
    expected = 10 * (
        alexnet(output, target).mean() + (reconstruction.l1(output, target) + reconstruction.l2(output, target)) / 2
    )
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    total, _ = Objective(RESOURCE_EFFICIENT)(output, target, mask)
    expected = 3 * (1 - reconstruction.ssim(output, target)) + reconstruction.l1(output, target)
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    lama = make_adversarial_loss(LAMA)
    assert isinstance(lama, NonSaturatingLoss)
    assert (lama.weight, lama.r1_weight, lama.feature_matching_weight) == (10, 0.001, 100)
    assert (LAMA.known_l1, LAMA.perceptual) == (10, 30)
    wasserstein = make_adversarial_loss(WASSERSTEIN)
    assert isinstance(wasserstein, WassersteinLoss)
    assert wasserstein.penalty_weight == 10
    assert make_adversarial_loss(HYBRID) is None
    assert make_discriminator(HYBRID) is None


def test_jitter_shifts_perceptual_losses_but_not_pixel_losses(alexnet: LPIPS) -> None:
    output, target, mask = tensors()
    objective = Objective(LossConfig(hole_l1=1, lpips=1, jitter=4), alexnet)
    usual = Objective(LossConfig(hole_l1=1, lpips=1), alexnet)
    phases = [objective(output, target, mask)[1] for _ in range(20)]
    assert {parts["hole_l1"].item() for parts in phases} == {usual(output, target, mask)[1]["hole_l1"].item()}
    here, there = (usual(*(x[..., n : SIDE - 4 + n, :-4] for x in tensors()))[1]["lpips"].item() for n in (0, 4))
    assert here != there
    assert len({parts["lpips"].item() for parts in phases}) > 1


def test_hole_lpips_does_not_depend_on_the_size_of_the_photo(alexnet: LPIPS) -> None:
    """A larger photo around the same hole dilutes LPIPS, but hardly changes LPIPS of the hole."""
    target = torch.tensor(np.random.default_rng(2).random((1, 3, 192, 192))).float()
    output, mask = target.clone(), torch.zeros(1, 1, 192, 192)
    output[..., 80:112, 80:112] = 0.5
    mask[..., 80:112, 80:112] = 1
    both = Objective(LossConfig(lpips=1, lpips_hole=1), alexnet)
    _, large = both(output, target, mask)
    _, small = both(*(x[..., 48:144, 48:144] for x in (output, target, mask)))
    assert large["lpips"] < 0.4 * small["lpips"]
    # The deepest features see past the border of the smaller photo: the two differ by about a tenth.
    assert large["lpips_hole"].item() == pytest.approx(small["lpips_hole"].item(), rel=0.2)


def test_gradients_reach_the_hole_under_autocast(alexnet: LPIPS) -> None:
    output, target, mask = tensors()
    output.requires_grad_()
    weights = LossConfig(ssim=1, hole_l1=1, lpips=1, lpips_hole=1, perceptual=1)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = Objective(weights, alexnet)(output, target, mask)
    assert total.dtype == torch.float32
    total.backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert output.grad.numpy()[HOLE].all()


def test_objective_without_reconstruction_losses_is_zero() -> None:
    weights = LossConfig(adversarial=1, adversarial_kind="non-saturating")
    output, target, mask = tensors()
    total, parts = Objective(weights)(output.requires_grad_(), target, mask)
    assert (total.item(), parts) == (0, {})
    total.backward()


def test_perceptual_loss_without_its_network_is_refused(alexnet: LPIPS) -> None:
    with pytest.raises(ConfigError, match="needs the network of LPIPS alexnet, got none"):
        Objective(HYBRID)
    with pytest.raises(ConfigError, match="needs the network of LPIPS vgg16, got alexnet"):
        Objective(LAMA, alexnet)
