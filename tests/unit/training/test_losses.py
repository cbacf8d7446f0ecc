"""The losses against independent computations: by hand, numpy, scikit-image and finite differences."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.func import functional_call

from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips import LPIPS
from wavepaint.training.config import LossConfig
from wavepaint.training.losses import reconstruction
from wavepaint.training.losses.adversarial import (
    NonSaturatingLoss,
    WassersteinLoss,
    feature_matching,
    gradient_penalty,
    make_adversarial_loss,
    r1_penalty,
)
from wavepaint.training.losses.discriminator import PatchDiscriminator, make_discriminator
from wavepaint.training.losses.objective import HOLE_MARGIN, Objective
from wavepaint.training.recipes import HYBRID, LAMA, RESOURCE_EFFICIENT, WASSERSTEIN

RNG = np.random.default_rng(0)
SIDE = 64
OUTPUT, TARGET = RNG.random((2, 2, 3, SIDE, SIDE))
MASK = np.zeros((2, 1, SIDE, SIDE))
MASK[0, :, 10:30, 20:50] = 1
MASK[1, :, 5:9, 40:44] = 1
HOLE = np.broadcast_to(MASK, OUTPUT.shape).astype(bool)


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor(OUTPUT).float(), torch.tensor(TARGET).float(), torch.tensor(MASK).float()


@pytest.fixture(scope="module")
def alexnet() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = LPIPS("alexnet")
    for head in module.heads.parameters():
        head.abs_()
    return module


# Reconstruction losses.


def test_ssim_equals_scikit_images_inside_the_image() -> None:
    expected = []
    for a, b in zip(OUTPUT, TARGET, strict=True):
        options = {"data_range": 1, "channel_axis": 0, "gaussian_weights": True, "use_sample_covariance": False}
        _, similarity = structural_similarity(a, b, full=True, **options)
        expected.append(similarity[:, 5:-5, 5:-5].mean())
    output, target, _ = tensors()
    assert reconstruction.ssim(output, target).item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_pixel_losses_equal_their_definitions() -> None:
    output, target, mask = tensors()
    error = np.abs(OUTPUT - TARGET)
    assert reconstruction.l1(output, target).item() == pytest.approx(error.mean(), rel=1e-5)
    assert reconstruction.l2(output, target).item() == pytest.approx((error**2).mean(), rel=1e-5)
    assert reconstruction.hole_l1(output, target, mask).item() == pytest.approx(error[HOLE].mean(), rel=1e-5)
    expected = error[~HOLE].sum() / error.size
    assert reconstruction.known_l1(output, target, mask).item() == pytest.approx(expected, rel=1e-5)


def test_composite_has_the_output_only_in_the_hole() -> None:
    output, target, mask = tensors()
    filled = reconstruction.composite(output, target, mask).numpy()
    np.testing.assert_array_equal(filled, np.where(HOLE, output.numpy(), target.numpy()))


def test_mean_around_the_hole_counts_only_its_neighbourhood() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 5, 8] = 1
    region = reconstruction.dilate_mask(mask, 2)
    assert region.sum() == 25
    assert region[..., 3:8, 6:11].min() == 1
    values = torch.where(region > 0, 7.0, 100.0)
    assert reconstruction.mean_around_hole(values, mask, margin=2).item() == 7
    assert reconstruction.mean_around_hole(values, torch.zeros_like(mask), margin=2).item() == 0


def test_feature_distance_sums_the_means_of_layers() -> None:
    a, b = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 2, 2)], [torch.ones(1, 2, 4, 4), torch.full((1, 8, 2, 2), 3.0)]
    assert reconstruction.feature_distance(a, b).item() == 1 + 9


# The discriminator.


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


# Adversarial terms.


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


# The objective.


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


def test_jitter_crops_all_tensors_alike_and_reaches_every_shift() -> None:
    rows = torch.arange(10.0).reshape(1, 1, 10, 1).expand(1, 1, 10, 8)
    columns = torch.arange(8.0).expand(1, 1, 10, 8)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(100):
        a, b = reconstruction.shift_and_crop(2, reconstruction.draw_shift(2, generator), rows, columns)
        assert a.shape == b.shape == (1, 1, 8, 6)
        assert torch.equal(a.diff(dim=2), torch.ones(1, 1, 7, 6))
        seen.add((a[0, 0, 0, 0].item(), b[0, 0, 0, 0].item()))
    assert seen == {(top, left) for top in range(3) for left in range(3)}
    state = torch.get_rng_state()
    assert reconstruction.shift_and_crop(0, reconstruction.draw_shift(0), rows)[0].equal(rows)
    assert torch.get_rng_state().equal(state), "without jitter no random number is drawn"


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
    target = torch.tensor(RNG.random((1, 3, 192, 192))).float()
    output, mask = target.clone(), torch.zeros(1, 1, 192, 192)
    output[..., 80:112, 80:112] = 0.5
    mask[..., 80:112, 80:112] = 1
    both = Objective(LossConfig(lpips=1, lpips_hole=1), alexnet)
    _, large = both(output, target, mask)
    _, small = both(*(x[..., 48:144, 48:144] for x in (output, target, mask)))
    assert large["lpips"] < 0.4 * small["lpips"]
    assert large["lpips_hole"].item() == pytest.approx(small["lpips_hole"].item(), rel=0.1)


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


def test_only_adversarial_losses_leave_an_empty_sum() -> None:
    weights = LossConfig(adversarial=1, adversarial_kind="non-saturating")
    output, target, mask = tensors()
    total, parts = Objective(weights)(output.requires_grad_(), target, mask)
    assert (total.item(), parts) == (0, {})
    total.backward()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "every loss weight is 0: set one or more of --ssim-weight, .*--lpips-hole-weight"),
        ({"mae": -1}, "--mae-weight is -1: expected 0 or more"),
        ({"hole_l1": math.nan}, "--hole-l1-weight is nan"),
        ({"lpips": math.inf}, "--lpips-weight is inf"),
        ({"mae": 1, "r1": 0.1}, "--r1-weight is 0.1, but there is no discriminator: set --adversarial-kind"),
        ({"mae": 1, "feature_matching": 1}, "--feature-matching-weight is 1, but there is no discriminator"),
        ({"adversarial": 1}, "--adversarial-weight is 1, but there is no discriminator"),
        ({"mae": 1, "adversarial_kind": "wasserstein"}, "--adversarial-weight is 0"),
        (
            {"adversarial": 1, "gradient_penalty": 1, "adversarial_kind": "non-saturating"},
            "--gradient-penalty-weight is 1, but --adversarial-kind non-saturating has no such penalty",
        ),
        (
            {"adversarial": 1, "gradient_penalty": 1, "r1": 1, "adversarial_kind": "wasserstein"},
            "--r1-weight is 1, but --adversarial-kind wasserstein has no such penalty",
        ),
        ({"adversarial": 1, "adversarial_kind": "wasserstein"}, "--gradient-penalty-weight is 0"),
        (
            {"mae": 1, "adversarial_kind": "hinge"},
            "--adversarial-kind is hinge: expected one of none, non-saturating",
        ),
        ({"mae": 1, "lpips_network": "squeeze"}, "--lpips-network is squeeze"),
    ],
)
def test_refused_weights_name_their_flag(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossConfig(**arguments)  # type: ignore[arg-type]


def test_perceptual_loss_without_its_network_is_refused(alexnet: LPIPS) -> None:
    with pytest.raises(ConfigError, match="needs the network of LPIPS alexnet, got none"):
        Objective(HYBRID)
    with pytest.raises(ConfigError, match="needs the network of LPIPS vgg16, got alexnet"):
        Objective(LAMA, alexnet)
