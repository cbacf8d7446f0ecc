"""What a training minimises: the weights of all losses, and their sum.

The adversarial terms are apart (:func:`make_adversarial_loss`), since they come in two halves between which a loop
alternates.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.training import losses
from wavepaint.training.adversarial import AdversarialLoss, NonSaturatingLoss, PatchDiscriminator, WassersteinLoss
from wavepaint.training.lpips import LPIPS, NETWORKS, Network, average_and_add, enlarge_and_add

AdversarialKind = Literal["none", "non-saturating", "wasserstein"]
ADVERSARIAL_KINDS: tuple[AdversarialKind, ...] = get_args(AdversarialKind)
HOLE_MARGIN = 16
"""Pixels around the hole that count in its LPIPS: as far as the eye looks for a seam, a stride of AlexNet's trunk."""

_PIXELS = ("ssim", "mae", "mse", "hole_l1", "known_l1")
_PERCEPTUAL = ("lpips", "lpips_hole", "perceptual")
_ADVERSARIAL = ("adversarial", "feature_matching", "r1", "gradient_penalty")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each loss counts; 0 leaves it out, and nothing is computed for it.

    Attributes:
        ssim: Of 1 - SSIM over the whole image.
        mae: Of the mean absolute error over the whole image.
        mse: Of the mean squared error over the whole image.
        hole_l1: Of the mean absolute error over the hole alone.
        known_l1: Of the absolute error of known pixels, averaged over all. It is 0 for networks that return them as
            they are, as all of this package do.
        lpips: Of LPIPS.
        lpips_hole: Of LPIPS in the hole and the 16 pixels around it.
        perceptual: Of the squared differences of the maps inside LPIPS's trunk. LaMa's are those of a ResNet50 with
            dilations, trained to segment (ADE20K); this is the other kind that its code has, with the trunk at
            hand for its VGG19.
        adversarial: Of the generator's adversarial term.
        feature_matching: Of the squared differences of what the discriminator makes of output and target.
        r1: Of the gradient's norm at real images, in the discriminator's half.
        gradient_penalty: Of the critic's gradient penalty.
        adversarial_kind: "none"; "non-saturating", LaMa's; "wasserstein", with gradient penalty.
        lpips_network: Trunk of LPIPS and of the perceptual loss.
    """

    ssim: float = 0.0
    mae: float = 0.0
    mse: float = 0.0
    hole_l1: float = 0.0
    known_l1: float = 0.0
    lpips: float = 0.0
    lpips_hole: float = 0.0
    perceptual: float = 0.0
    adversarial: float = 0.0
    feature_matching: float = 0.0
    r1: float = 0.0
    gradient_penalty: float = 0.0
    adversarial_kind: AdversarialKind = "none"
    lpips_network: Network = "alexnet"

    def __post_init__(self) -> None:
        for name in (*_PIXELS, *_PERCEPTUAL, *_ADVERSARIAL):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{_flag(name)} is {value}: expected a number from 0 on.")
        if self.adversarial_kind not in ADVERSARIAL_KINDS:
            raise ConfigError(
                f"--adversarial-kind is {self.adversarial_kind!r}: expected one of {', '.join(ADVERSARIAL_KINDS)}."
            )
        if self.lpips_network not in NETWORKS:
            raise ConfigError(f"--lpips-network is {self.lpips_network!r}: expected one of {', '.join(NETWORKS)}.")
        self._check_adversarial()
        generator = (*_PIXELS, *_PERCEPTUAL, "adversarial", "feature_matching")
        if not any(getattr(self, name) for name in generator):
            raise ConfigError(f"every loss weight is 0: set one or more of {', '.join(map(_flag, generator))}.")

    def _check_adversarial(self) -> None:
        kind = self.adversarial_kind
        if kind == "none":
            for name in _ADVERSARIAL:
                if getattr(self, name):
                    raise ConfigError(
                        f"{_flag(name)} is {getattr(self, name)}, but there is no discriminator: set "
                        f"--adversarial-kind non-saturating or wasserstein, or {_flag(name)} 0."
                    )
            return
        if not self.adversarial:
            raise ConfigError(
                f"--adversarial-kind is {kind}, but {_flag('adversarial')} is 0: set it above 0, or "
                "--adversarial-kind none."
            )
        if kind == "non-saturating" and self.gradient_penalty:
            raise ConfigError(
                f"{_flag('gradient_penalty')} is {self.gradient_penalty}, which --adversarial-kind non-saturating does "
                f"not have: set it to 0 and {_flag('r1')} above 0."
            )
        if kind == "wasserstein" and self.r1:
            raise ConfigError(
                f"{_flag('r1')} is {self.r1}, which --adversarial-kind wasserstein does not have: set it to 0."
            )
        if kind == "wasserstein" and not self.gradient_penalty:
            raise ConfigError(
                f"{_flag('gradient_penalty')} is 0: --adversarial-kind wasserstein is a distance only with it; set it "
                "above 0 (its authors have 10)."
            )

    @property
    def needs_lpips(self) -> bool:
        """Whether a trained trunk is needed."""
        return any(getattr(self, name) for name in _PERCEPTUAL)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}-weight"


RESOURCE_EFFICIENT = LossWeights(ssim=3.0, mae=1.0)
"""SSIM and MAE, 3 : 1. Source: P. Jeevan et al., "Resource-efficient Image Inpainting" (2023)."""

HYBRID = LossWeights(lpips=10.0, mae=5.0, mse=5.0)
"""10 (LPIPS + L1 / 2 + L2 / 2), as :func:`wavepaint.training.losses.hybrid` has it."""

LAMA = LossWeights(
    known_l1=10.0,
    perceptual=30.0,
    adversarial=10.0,
    feature_matching=100.0,
    r1=0.001,
    adversarial_kind="non-saturating",
    lpips_network="vgg16",
)
"""LaMa's set and weights, but for the perceptual network; see :class:`LossWeights`. Source: Suvorov et al. 2022,
eq. 7, with the values of the released configuration."""

WASSERSTEIN = LossWeights(hole_l1=1.0, adversarial=0.001, gradient_penalty=10.0, adversarial_kind="wasserstein")
"""A critic with the penalty of Gulrajani et al. 2017, beside L1 inside the hole. The proportion is this project's."""


class Objective(nn.Module):
    """The weighted sum of the losses that compare an output with its target.

    Pixel losses look at the output as it is, perceptual ones at the target with the output in its hole, in one pass
    through the trunk for all of them.

    Args:
        weights: Of each loss.
        lpips: The perceptual distance; needed if ``weights`` has a perceptual loss.

    Raises:
        ConfigError: It is needed and missing, or has another trunk than ``weights`` says.
    """

    def __init__(self, weights: LossWeights, lpips: LPIPS | None = None) -> None:
        super().__init__()
        if weights.needs_lpips and (lpips is None or lpips.network != weights.lpips_network):
            got = "none" if lpips is None else lpips.network
            raise ConfigError(
                f"the loss needs the network of LPIPS {weights.lpips_network}, got {got}: set --lpips-network and "
                "--lpips-weights to match."
            )
        self.weights = weights
        self.lpips = lpips if weights.needs_lpips else None

    def forward(self, output: Tensor, target: Tensor, mask_N1HW: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare.

        Args:
            output: (N, 3, H, W), what the network made, in [0, 1] where it is good.
            target: (N, 3, H, W) in [0, 1].
            mask_N1HW: 1 = hole.

        Returns:
            The loss, a float32 scalar; and its terms by the names of :class:`LossWeights`, weighted, without
            gradients: they add up to the loss.
        """
        weights = self.weights
        values: dict[str, Tensor] = {}
        if weights.ssim:
            values["ssim"] = 1 - losses.ssim(output, target)
        if weights.mae:
            values["mae"] = losses.l1(output, target)
        if weights.mse:
            values["mse"] = losses.l2(output, target)
        if weights.hole_l1:
            values["hole_l1"] = losses.hole_l1(output, target, mask_N1HW)
        if weights.known_l1:
            values["known_l1"] = losses.weighted_l1(output, target, mask_N1HW, known_weight=1, hole_weight=0)
        if self.lpips is not None:
            values |= self._compare_features(self.lpips, losses.composite(output, target, mask_N1HW), target, mask_N1HW)
        terms = {name: getattr(weights, name) * value for name, value in values.items()}
        total = torch.stack(list(terms.values())).sum() if terms else output.float().sum() * 0
        return total, {name: term.detach() for name, term in terms.items()}

    def _compare_features(self, lpips: LPIPS, filled: Tensor, target: Tensor, mask_N1HW: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            features_target = lpips.features(target)
        features_filled = lpips.features(filled)
        values: dict[str, Tensor] = {}
        if self.weights.lpips or self.weights.lpips_hole:
            maps = lpips.compare(features_filled, features_target)
            if self.weights.lpips:
                values["lpips"] = average_and_add(maps).mean()
            if self.weights.lpips_hole:
                at_pixels = enlarge_and_add(maps, (target.shape[2], target.shape[3]))
                values["lpips_hole"] = losses.mean_around_hole(at_pixels, mask_N1HW, margin=HOLE_MARGIN)
        if self.weights.perceptual:
            values["perceptual"] = losses.feature_distance(features_filled, features_target)
        return values


def make_adversarial_loss(weights: LossWeights) -> AdversarialLoss | None:
    """Return both halves of the adversarial loss that ``weights`` describes; None if it has none."""
    if weights.adversarial_kind == "non-saturating":
        return NonSaturatingLoss(
            weight=weights.adversarial, r1_weight=weights.r1, feature_matching_weight=weights.feature_matching
        )
    if weights.adversarial_kind == "wasserstein":
        return WassersteinLoss(
            weight=weights.adversarial,
            penalty_weight=weights.gradient_penalty,
            feature_matching_weight=weights.feature_matching,
        )
    return None


def make_discriminator(
    weights: LossWeights, *, in_channels: int = 3, channels: int = 64, num_layers: int = 3
) -> PatchDiscriminator | None:
    """Return a new discriminator for the adversarial loss that ``weights`` describes; None if it has none.

    See :class:`wavepaint.training.adversarial.PatchDiscriminator` for the arguments.
    """
    if weights.adversarial_kind == "none":
        return None
    norm: Literal["batch", "none"] = "none" if weights.adversarial_kind == "wasserstein" else "batch"
    return PatchDiscriminator(in_channels, channels=channels, num_layers=num_layers, norm=norm)
