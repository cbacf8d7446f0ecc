"""Adversarial losses against independent computations: numpy and finite differences."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from tests.unit.training.losses.images import MASK, OUTPUT, SIDE, TARGET, tensors
from wavepaint.errors import ConfigError
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.losses.adversarial import (
    NonSaturatingLoss,
    WassersteinLoss,
    feature_matching,
    gradient_penalty,
    make_adversarial_loss,
    r1_penalty,
)
from wavepaint.training.losses.discriminator import PatchDiscriminator, make_discriminator
from wavepaint.training.recipes import LAMA, WASSERSTEIN


class Linear(nn.Module):
    """Judges every pixel separately, so that its gradient at every pixel is its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, -0.2, 0.6]))

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        judgement = (image * self.weight.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        return judgement, [judgement, 2 * judgement]


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def judge(image: np.ndarray) -> np.ndarray:
    return np.einsum("nchw,c->nhw", image, [0.3, -0.2, 0.6])[:, None]


def test_known_patches_of_a_filled_image_count_as_real() -> None:
    output, target, mask = tensors()
    terms = NonSaturatingLoss(r1_weight=0.5).discriminator_terms(Linear(), output, target, mask)
    made, real = judge(OUTPUT), judge(TARGET)
    assert terms["real"].item() == pytest.approx(softplus(-real).mean(), rel=1e-5)
    assert terms["fake"].item() == pytest.approx(np.where(MASK > 0, softplus(made), softplus(-made)).mean(), rel=1e-5)
    assert terms["r1"].item() == pytest.approx(0.5 * SIDE * SIDE * (0.3**2 + 0.2**2 + 0.6**2), rel=1e-5)


def test_penalty_scale_multiplies_or_skips_the_penalty() -> None:
    """A scale of 0 does not even compute the penalty, so the discriminator needs no derivative."""
    for loss, name in ((NonSaturatingLoss(r1_weight=0.5), "r1"), (WassersteinLoss(), "gradient_penalty")):
        usual = loss.discriminator_terms(Linear(), *tensors())
        eightfold = loss.discriminator_terms(Linear(), *tensors(), penalty_scale=8.0)
        with torch.no_grad():
            without = loss.discriminator_terms(Linear(), *tensors(), penalty_scale=0.0)
        assert eightfold[name].item() == pytest.approx(8 * usual[name].item())
        assert without[name] == 0
        for other in usual.keys() - {name}:
            assert usual[other] == eightfold[other] == without[other]


def test_patch_has_the_label_of_the_nearest_pixel() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=2, norm="none")
    output, target, _ = tensors()
    full, half = torch.ones(2, 1, SIDE, SIDE), torch.zeros(2, 1, SIDE, SIDE)
    half[..., SIDE // 2 :] = 1
    loss = NonSaturatingLoss(r1_weight=0)
    made = discriminator(output)[0].detach()
    assert loss.discriminator_terms(discriminator, output, target, full)["fake"].item() == pytest.approx(
        F.softplus(made).mean().item(), rel=1e-5
    )
    labels = torch.zeros_like(made)
    width = made.shape[3]
    labels[..., [x for x in range(width) if x * SIDE // width >= SIDE // 2]] = 1
    assert 0 < labels.mean() < 1
    expected = (labels * F.softplus(made) + (1 - labels) * F.softplus(-made)).mean().item()
    assert loss.discriminator_terms(discriminator, output, target, half)["fake"].item() == pytest.approx(
        expected, rel=1e-5
    )


def test_generator_terms_are_weighted_and_named() -> None:
    output, target, mask = tensors()
    made, real = judge(OUTPUT), judge(TARGET)
    terms = NonSaturatingLoss(weight=10, feature_matching_weight=100).generator_terms(Linear(), output, target, mask)
    assert terms["adversarial"].item() == pytest.approx(10 * softplus(-made).mean(), rel=1e-5)
    matched = 100 * np.mean([((made - real) ** 2).mean(), (4 * (made - real) ** 2).mean()])
    assert terms["feature_matching"].item() == pytest.approx(matched, rel=1e-5)
    terms = WassersteinLoss(weight=2).generator_terms(Linear(), output, target, mask)
    assert terms.keys() == {"adversarial"}
    assert terms["adversarial"].item() == pytest.approx(-2 * made.mean(), rel=1e-5)


def test_critic_terms_are_its_scores_and_the_penalty() -> None:
    output, target, mask = tensors()
    terms = WassersteinLoss(penalty_weight=10).discriminator_terms(Linear(), output, target, mask)
    assert terms["critic"].item() == pytest.approx(judge(OUTPUT).mean() - judge(TARGET).mean(), rel=1e-4)
    slope = 0.7 / SIDE  # the mean over patches has 1 / pixels of the weights at each of them
    assert terms["gradient_penalty"].item() == pytest.approx(10 * (slope - 1) ** 2, rel=1e-5)


def test_feature_matching_is_the_mean_over_stages() -> None:
    fake, real = (
        [torch.full((1, 2, 4, 4), 3.0), torch.zeros(1, 1, 2, 2)],
        [torch.ones(1, 2, 4, 4), torch.zeros(1, 1, 2, 2)],
    )
    assert feature_matching(fake, real).item() == (4 + 0) / 2


def small_case(norm: str) -> tuple[PatchDiscriminator, dict[str, Tensor], Tensor, Tensor]:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=2, num_layers=1, norm=norm).double()  # type: ignore[arg-type]
    parameters = {name: p.detach().clone().requires_grad_() for name, p in discriminator.named_parameters()}
    fake, real = torch.rand(2, 2, 3, 6, 6, dtype=torch.float64)
    return discriminator, parameters, fake, real


class Fixed(nn.Module):
    """A discriminator with external parameters, for finite differences."""

    def __init__(self, discriminator: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.call: Callable[[Tensor], tuple[Tensor, list[Tensor]]] = lambda image: functional_call(
            discriminator, parameters, (image,)
        )

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.call(image)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradient_of_r1_equals_finite_differences(norm: str) -> None:
    discriminator, parameters, _, real = small_case(norm)

    def penalty(*values: Tensor) -> Tensor:
        image = real.clone().requires_grad_()
        judgement, _ = functional_call(discriminator, dict(zip(parameters, values, strict=True)), (image,))
        return r1_penalty(judgement, image)

    assert penalty(*parameters.values()).item() > 0
    assert torch.autograd.gradcheck(penalty, tuple(parameters.values()))


def test_gradient_of_the_gradient_penalty_equals_finite_differences() -> None:
    discriminator, parameters, fake, real = small_case("none")
    share = torch.tensor([0.3, 0.8], dtype=torch.float64).view(2, 1, 1, 1)

    def penalty(*values: Tensor) -> Tensor:
        critic = Fixed(discriminator, dict(zip(parameters, values, strict=True)))
        return gradient_penalty(critic, fake, real, torch.ones(2, 1, 6, 6), share)

    assert penalty(*parameters.values()).item() > 0
    assert torch.autograd.gradcheck(penalty, tuple(parameters.values()))


def test_penalty_samples_between_the_filled_image_and_the_original() -> None:
    seen: list[Tensor] = []

    class Watching(Linear):
        def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
            seen.append(image.detach())
            return super().forward(image, mask)

    fake, real, mask = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2), torch.ones(64, 1, 2, 2)
    torch.manual_seed(0)
    gradient_penalty(Watching(), fake, real, mask)
    (between,) = seen
    shares = between[:, 0, 0, 0]
    assert torch.equal(between, shares.view(64, 1, 1, 1).expand_as(between))
    assert 0 <= shares.min() < 0.2 < 0.8 < shares.max() <= 1


@pytest.mark.parametrize("loss", [NonSaturatingLoss(), WassersteinLoss(feature_matching_weight=1)])
def test_each_half_gives_gradients_only_to_its_own_side(loss: NonSaturatingLoss | WassersteinLoss) -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=4, norm="none")
    output, target, mask = tensors()
    output.requires_grad_()
    sum(loss.generator_terms(discriminator, output, target, mask).values()).backward()  # type: ignore[union-attr]
    assert output.grad is not None
    assert output.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())
    output.grad = None
    sum(loss.discriminator_terms(discriminator, output, target, mask).values()).backward()  # type: ignore[union-attr]
    assert output.grad is None
    assert target.grad is None
    assert not target.requires_grad
    assert all(p.grad is not None and p.grad.isfinite().all() for p in discriminator.parameters())


@pytest.mark.parametrize("weights", [LAMA, WASSERSTEIN])
@pytest.mark.parametrize("autocast", [False, True])
def test_discriminator_learns_to_separate_filled_from_real(weights: LossConfig, autocast: bool) -> None:
    torch.manual_seed(0)
    weights = dataclasses.replace(weights, discriminator_channels=4, discriminator_layers=2)
    loss, discriminator = make_adversarial_loss(weights), make_discriminator(weights)
    assert loss is not None
    assert discriminator is not None
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.5, 0.9))
    real, mask = torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32)
    fake = 0.3 * real
    for _ in range(25):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            terms = loss.discriminator_terms(discriminator, fake, real, mask)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        optimizer.zero_grad()
        sum(terms.values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    with torch.no_grad():
        assert discriminator(real)[0].mean() > discriminator(fake)[0].mean() + 0.2


def test_critic_with_batch_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match='BatchNorm.*norm="none"'):
        WassersteinLoss().discriminator_terms(PatchDiscriminator(channels=2), *tensors())
