"""Adversarial losses.

Each loss has a generator half and a discriminator half, between which a step alternates. Both halves return named,
weighted terms; their sum is minimised. The generator half gives the discriminator's parameters no gradients, and the
discriminator half gives the generator's none.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.losses.reconstruction import widen

LossTerms = dict[str, Tensor]


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over stages of the mean squared difference of a discriminator's feature maps.

    Squares follow LaMa's code, whose weight is 100. The original, pix2pixHD (T.-C. Wang et al. 2018, eq. 4), takes the
    absolute difference.
    """
    return torch.stack([(widen(a) - widen(b)).square().mean() for a, b in zip(fake, real, strict=True)]).mean()


def r1_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Mean over images of the squared norm of the logits' gradient at real images.

    Args:
        logits: The discriminator's logits of ``real``, with their graph.
        real: Real images that require a gradient.

    Source: L. Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018), eq. 9, without its
    factor of one half, as in LaMa's code.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(
    critic: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, share: Tensor | None = None
) -> Tensor:
    """Mean of (norm of the critic's gradient - 1)^2 at images between real and filled ones.

    The score of an image is the mean over its patches.

    Args:
        critic: The discriminator.
        fake: Filled images.
        real: Their originals.
        mask_N1HW: 1 = hole.
        share: Share of the original in each image, (N, 1, 1, 1) in [0, 1]; None draws it at random.

    Source: I. Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), eq. 3.
    """
    if share is None:
        share = torch.rand(real.shape[0], 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    logits, _ = critic(between, mask_N1HW)
    (gradient,) = torch.autograd.grad(logits.mean(dim=(1, 2, 3)).sum(), between, create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (norm - 1).square().mean()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Compute no gradients for the parameters of a module, which saves half of the backward pass."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _full_precision(tensor: Tensor) -> torch.autocast:
    # A penalty is a gradient of a gradient, for which bfloat16's three digits are too few.
    return torch.autocast(tensor.device.type, enabled=False)


class AdversarialLoss(ABC):
    """Both halves of an adversarial loss.

    Args:
        weight: Weight of the generator's loss.
        feature_matching_weight: Weight of :func:`feature_matching`.
    """

    def __init__(self, weight: float, feature_matching_weight: float) -> None:
        self.weight = weight
        self.feature_matching_weight = feature_matching_weight

    @abstractmethod
    def _generator_loss(self, logits: Tensor) -> Tensor:
        """Return a loss that falls as the logits of filled images rise."""

    def generator_terms(self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor) -> LossTerms:
        """Return the terms "adversarial" and, if it has a weight, "feature_matching"."""
        with _frozen(discriminator):
            logits, fake_features = discriminator(fake, mask_N1HW)
            terms = {"adversarial": self.weight * self._generator_loss(widen(logits))}
            if self.feature_matching_weight:
                with torch.no_grad():
                    _, real_features = discriminator(real, mask_N1HW)
                distance = feature_matching(fake_features, real_features)
                terms["feature_matching"] = self.feature_matching_weight * distance
        return terms

    @abstractmethod
    def discriminator_terms(
        self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, *, penalty_scale: float = 1.0
    ) -> LossTerms:
        """Return the discriminator's terms; a ``penalty_scale`` of 0 skips the gradient penalty."""


class NonSaturatingLoss(AdversarialLoss):
    """LaMa's loss: non-saturating with R1. Patches outside the hole count as real, even in a filled image.

    Source: Suvorov et al. 2022, section 2.3.2, eq. 4 to 6; ``NonSaturatingWithR1`` of the authors' code with
    ``mask_as_fake_target``, and masks scaled down to the nearest pixel.

    Args:
        weight: Weight of the generator's loss; LaMa uses 10.
        r1_weight: Weight of the penalty; LaMa uses 0.001.
        feature_matching_weight: LaMa uses 100.
    """

    def __init__(
        self, *, weight: float = 10.0, r1_weight: float = 0.001, feature_matching_weight: float = 100.0
    ) -> None:
        super().__init__(weight, feature_matching_weight)
        self.r1_weight = r1_weight

    def _generator_loss(self, logits: Tensor) -> Tensor:
        return F.softplus(-logits).mean()

    def discriminator_terms(
        self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, *, penalty_scale: float = 1.0
    ) -> LossTerms:
        """Return the terms "real", "fake" and, if it has a weight, "r1"."""
        terms: LossTerms = {"r1": real.new_zeros((), dtype=torch.float32)} if self.r1_weight else {}
        if self.r1_weight and penalty_scale:
            with _full_precision(real):
                real = widen(real).detach().requires_grad_()
                logits, _ = discriminator(real, mask_N1HW)
                terms["r1"] = penalty_scale * self.r1_weight * r1_penalty(logits, real)
        else:
            logits, _ = discriminator(real, mask_N1HW)
        terms["real"] = F.softplus(-widen(logits)).mean()
        fake_logits = widen(discriminator(fake.detach(), mask_N1HW)[0])
        hole = F.interpolate(mask_N1HW.to(fake_logits.dtype), size=fake_logits.shape[2:], mode="nearest")
        terms["fake"] = (hole * F.softplus(fake_logits) + (1 - hole) * F.softplus(-fake_logits)).mean()
        return terms


class WassersteinLoss(AdversarialLoss):
    """The Wasserstein distance with a gradient penalty.

    Its authors take five steps of the critic per step of the generator, so that the critic stays ahead.

    Source: Gulrajani et al. 2017, algorithm 1.

    Args:
        weight: Weight of the generator's loss.
        penalty_weight: Weight of :func:`gradient_penalty`; its authors use 10.
        feature_matching_weight: Not part of the source.
    """

    def __init__(
        self, *, weight: float = 1.0, penalty_weight: float = 10.0, feature_matching_weight: float = 0.0
    ) -> None:
        super().__init__(weight, feature_matching_weight)
        self.penalty_weight = penalty_weight

    def _generator_loss(self, logits: Tensor) -> Tensor:
        return -logits.mean()

    def discriminator_terms(
        self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, *, penalty_scale: float = 1.0
    ) -> LossTerms:
        """Return the terms "critic" (its score of filled images minus that of originals) and "gradient_penalty".

        Raises:
            ConfigError: The discriminator has BatchNorm, which makes the gradient of a single image undefined.
        """
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules()):
            raise ConfigError(
                "the gradient penalty got a discriminator with BatchNorm, which makes every image depend on its whole "
                'batch: build it with norm="none".'
            )
        fake_logits, _ = discriminator(fake.detach(), mask_N1HW)
        real_logits, _ = discriminator(real, mask_N1HW)
        terms: LossTerms = {
            "critic": widen(fake_logits).mean() - widen(real_logits).mean(),
            "gradient_penalty": real.new_zeros((), dtype=torch.float32),
        }
        if penalty_scale:
            with _full_precision(real):
                penalty = gradient_penalty(discriminator, widen(fake), widen(real), mask_N1HW)
            terms["gradient_penalty"] = penalty_scale * self.penalty_weight * penalty
        return terms


def make_adversarial_loss(config: LossConfig) -> AdversarialLoss | None:
    """Return the adversarial loss of a configuration; None if it has none."""
    if config.adversarial_kind == "non-saturating":
        return NonSaturatingLoss(
            weight=config.adversarial, r1_weight=config.r1, feature_matching_weight=config.feature_matching
        )
    if config.adversarial_kind == "wasserstein":
        return WassersteinLoss(
            weight=config.adversarial,
            penalty_weight=config.gradient_penalty,
            feature_matching_weight=config.feature_matching,
        )
    return None
