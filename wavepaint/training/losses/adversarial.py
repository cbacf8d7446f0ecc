"""Adversarial training: the discriminator, and what it and the network that fills holes learn from each other.

A loss here has two halves, ``generator`` and ``discriminator``, for a loop that alternates. Both return named terms,
weighted, whose sum is what to minimise. The generator's half leaves the discriminator's parameters without gradients,
and the discriminator's half those of the generator.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.training.losses.terms import widen

Norm = Literal["batch", "none"]
Terms = dict[str, Tensor]


class PatchDiscriminator(nn.Module):
    """Judges every patch of an image by itself: real or made.

    With three strided layers a judgement sees 70x70 pixels, as in pix2pix; LaMa's released configuration has four,
    142x142.

    Source: P. Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section 3.2.2;
    ``NLayerDiscriminator`` of LaMa's code, itself from pix2pixHD.

    Args:
        in_channels: 3 (the image), or 4 (with the mask, so that it knows where to look).
        channels: Of the first layer; doubled with each, up to 8 times as many.
        num_layers: Layers of stride 2.
        norm: "batch" as LaMa has it. "none" for a gradient penalty: BatchNorm makes what is said of an image depend
            on the others of its batch, while the penalty is on the gradient of each image by itself (Gulrajani et
            al. 2017, section 4).

    Raises:
        ConfigError: A value outside of these.
    """

    def __init__(self, in_channels: int = 3, *, channels: int = 64, num_layers: int = 3, norm: Norm = "batch") -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise ConfigError(f"the discriminator's in_channels is {in_channels}: expected 3, or 4 with the mask.")
        if channels < 1 or num_layers < 1 or norm not in ("batch", "none"):
            raise ConfigError(
                f"the discriminator has channels {channels}, num_layers {num_layers} and norm {norm!r}: expected two "
                'numbers from 1 on and "batch" or "none".'
            )
        self.in_channels = in_channels
        stages: list[nn.Sequential] = []
        inputs = in_channels
        for index in range(num_layers + 1):
            outputs = channels * min(2**index, 8)
            stride = 2 if index < num_layers else 1
            layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride=stride, padding=2)]
            if index and norm == "batch":
                layers.append(nn.BatchNorm2d(outputs))
            stages.append(nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True)))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv2d(inputs, 1, 4, padding=2)

    def forward(self, image_N3HW: Tensor, mask_N1HW: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Judge images.

        Args:
            image_N3HW: In [0, 1].
            mask_N1HW: 1 = hole; used by a discriminator of four channels alone, which needs it.

        Returns:
            The judgements (N, 1, h, w), not squashed, high for real; and what each stage made, for matching.

        Raises:
            ConfigError: A discriminator of four channels got no mask.
        """
        x = image_N3HW
        if self.in_channels == 4:
            if mask_N1HW is None:
                raise ConfigError("a discriminator with in_channels 4 got no mask: expected one of shape (N, 1, H, W).")
            x = torch.cat([x, mask_N1HW.to(x.dtype)], dim=1)
        features: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return self.head(x), features


def feature_matching(
    fake: Sequence[Tensor], real: Sequence[Tensor], mask_N1HW: Tensor | None = None, *, squared: bool = True
) -> Tensor:
    """Mean over stages of the difference of what a discriminator makes of two images.

    Args:
        fake: Of the filled image.
        real: Of the original.
        mask_N1HW: 1 = hole. With it, only what is known counts, as LaMa's code can have it.
        squared: Mean squared difference, as in LaMa's code, for which its weight of 100 was chosen; False: mean
            absolute difference, as in its origin, pix2pixHD (T.-C. Wang et al. 2018, eq. 4).
    """
    terms = []
    for a, b in zip(fake, real, strict=True):
        error = widen(a) - widen(b)
        error = error.square() if squared else error.abs()
        if mask_N1HW is not None:
            size = (a.shape[2], a.shape[3])
            error = error * (
                1 - F.interpolate(mask_N1HW.to(error.dtype), size=size, mode="bilinear", align_corners=False)
            )
        terms.append(error.mean())
    return torch.stack(terms).mean()


def r1_penalty(judgement: Tensor, real: Tensor) -> Tensor:
    """Mean over images of the squared norm of the judgements' gradient at real images.

    Args:
        judgement: Of ``real``, by a graph that begins there.
        real: Requires a gradient.

    Source: L. Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018), eq. 9, without its
    factor of one half, as LaMa's code has it.
    """
    (gradient,) = torch.autograd.grad(judgement.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(
    discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, share: Tensor | None = None
) -> Tensor:
    """Mean of (norm of the critic's gradient - 1)^2 at images between real and filled ones.

    An image's score is the mean over its patches.

    Args:
        discriminator: The critic.
        fake: Filled images.
        real: Their originals.
        mask_N1HW: 1 = hole.
        share: Of the original in each image, (N, 1, 1, 1) in [0, 1]; None draws it.

    Source: I. Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), eq. 3.
    """
    if share is None:
        share = torch.rand(real.shape[0], 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    judgement, _ = discriminator(between, mask_N1HW)
    (gradient,) = torch.autograd.grad(judgement.mean(dim=(1, 2, 3)).sum(), between, create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (norm - 1).square().mean()


class AdversarialLoss(Protocol):
    """Both halves of adversarial training; see the module's text."""

    def generator(self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor) -> Terms:
        """Return what the network that made ``fake`` has to minimise."""
        ...

    def discriminator(
        self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, *, penalty_scale: float = 1.0
    ) -> Terms:
        """Return what the discriminator has to minimise; ``penalty_scale`` of 0 saves the gradients' penalty."""
        ...


@contextmanager
def _without_gradients(module: nn.Module) -> Iterator[None]:
    """Leave the parameters out of the graph that is recorded meanwhile: half of the backward pass is theirs."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _full_precision(tensor: Tensor) -> torch.autocast:
    # A penalty is a gradient of a gradient, of which bfloat16's three digits leave little.
    return torch.autocast(tensor.device.type, enabled=False)


class _Adversary(ABC):
    """What both kinds share: the generator's half is its own term and feature matching."""

    def __init__(self, weight: float, feature_matching_weight: float, match_known_only: bool) -> None:
        self.weight = weight
        self.feature_matching_weight = feature_matching_weight
        self.match_known_only = match_known_only

    @abstractmethod
    def _persuade(self, judgement: Tensor) -> Tensor:
        """Return what shrinks as filled images are taken for real ones."""

    def generator(self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor) -> Terms:
        """Return the terms "adversarial" and, if it has a weight, "feature_matching"."""
        with _without_gradients(discriminator):
            judgement, fake_features = discriminator(fake, mask_N1HW)
            terms = {"adversarial": self.weight * self._persuade(widen(judgement))}
            if self.feature_matching_weight:
                with torch.no_grad():
                    _, real_features = discriminator(real, mask_N1HW)
                mask = mask_N1HW if self.match_known_only else None
                distance = feature_matching(fake_features, real_features, mask)
                terms["feature_matching"] = self.feature_matching_weight * distance
        return terms


class NonSaturatingLoss(_Adversary):
    """LaMa's: the non-saturating loss with R1, where patches outside the hole are real in a filled image too.

    Source: Suvorov et al. 2022, section 2.3.2, eq. 4 to 6; ``NonSaturatingWithR1`` of the authors' code with
    ``mask_as_fake_target`` and masks shrunk to the nearest pixel.

    Args:
        weight: Of the generator's term; LaMa has 10.
        r1_weight: Of the penalty in the discriminator's; LaMa has 0.001.
        feature_matching_weight: LaMa has 100.
        match_known_only: See :func:`feature_matching`; LaMa's released models have it off.
    """

    def __init__(
        self,
        *,
        weight: float = 10.0,
        r1_weight: float = 0.001,
        feature_matching_weight: float = 100.0,
        match_known_only: bool = False,
    ) -> None:
        super().__init__(weight, feature_matching_weight, match_known_only)
        self.r1_weight = r1_weight

    def _persuade(self, judgement: Tensor) -> Tensor:
        return F.softplus(-judgement).mean()

    def discriminator(
        self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, *, penalty_scale: float = 1.0
    ) -> Terms:
        """Return the terms "real", "fake" and, if it has a weight, "r1"."""
        terms: Terms = {"r1": real.new_zeros((), dtype=torch.float32)} if self.r1_weight else {}
        if self.r1_weight and penalty_scale:
            with _full_precision(real):
                real = widen(real).detach().requires_grad_()
                judgement, _ = discriminator(real, mask_N1HW)
                terms["r1"] = penalty_scale * self.r1_weight * r1_penalty(judgement, real)
        else:
            judgement, _ = discriminator(real, mask_N1HW)
        terms["real"] = F.softplus(-widen(judgement)).mean()
        made, _ = discriminator(fake.detach(), mask_N1HW)
        made = widen(made)
        hole = F.interpolate(mask_N1HW.to(made.dtype), size=made.shape[2:], mode="nearest")
        terms["fake"] = (hole * F.softplus(made) + (1 - hole) * F.softplus(-made)).mean()
        return terms


class WassersteinLoss(_Adversary):
    """The Wasserstein distance with a gradient penalty.

    The critic is meant to be ahead of the generator: its authors take five of its steps to one of the generator's.

    Source: Gulrajani et al. 2017, algorithm 1.

    Args:
        weight: Of the generator's term.
        penalty_weight: Of :func:`gradient_penalty`; its authors have 10.
        feature_matching_weight: Not part of the source.
        match_known_only: See :func:`feature_matching`.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        penalty_weight: float = 10.0,
        feature_matching_weight: float = 0.0,
        match_known_only: bool = False,
    ) -> None:
        super().__init__(weight, feature_matching_weight, match_known_only)
        self.penalty_weight = penalty_weight

    def _persuade(self, judgement: Tensor) -> Tensor:
        return -judgement.mean()

    def discriminator(
        self, discriminator: nn.Module, fake: Tensor, real: Tensor, mask_N1HW: Tensor, *, penalty_scale: float = 1.0
    ) -> Terms:
        """Return the terms "critic" (its score of filled images minus that of originals) and "gradient_penalty".

        Raises:
            ConfigError: The discriminator has BatchNorm, with which the penalty is of no gradient that exists.
        """
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules()):
            raise ConfigError(
                "the gradient penalty got a discriminator with BatchNorm, through which every image depends on its "
                'whole batch: build it with norm="none".'
            )
        made, _ = discriminator(fake.detach(), mask_N1HW)
        judgement, _ = discriminator(real, mask_N1HW)
        terms: Terms = {
            "critic": widen(made).mean() - widen(judgement).mean(),
            "gradient_penalty": real.new_zeros((), dtype=torch.float32),
        }
        if penalty_scale:
            with _full_precision(real):
                penalty = gradient_penalty(discriminator, widen(fake), widen(real), mask_N1HW)
            terms["gradient_penalty"] = penalty_scale * self.penalty_weight * penalty
        return terms
