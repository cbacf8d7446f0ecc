"""What a training minimises: the weights of all losses, and their sum.

The adversarial terms are apart (:func:`make_adversarial_loss`), since they come in two halves between which a loop
alternates.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.training.config import LossWeights
from wavepaint.training.losses import terms
from wavepaint.training.losses.adversarial import (
    AdversarialLoss,
    NonSaturatingLoss,
    PatchDiscriminator,
    WassersteinLoss,
)
from wavepaint.training.losses.lpips import LPIPS, average_and_add, enlarge_and_add

HOLE_MARGIN = 16
"""Pixels around the hole that count in its LPIPS: as far as the eye looks for a seam, a stride of AlexNet's trunk."""


class Objective(nn.Module):
    """The weighted sum of the losses that compare an output with its target.

    All of them look at the target with the prediction in its hole, the perceptual ones in one pass through the trunk;
    but for ``known_l1``, which looks at what was predicted outside.

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

    def forward(self, predicted: Tensor, target: Tensor, mask_N1HW: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare.

        Args:
            predicted: (N, 3, H, W), the network's prediction of the whole image, in [0, 1] where it is good.
            target: (N, 3, H, W) in [0, 1].
            mask_N1HW: 1 = hole.

        Returns:
            The loss, a float32 scalar; and its terms by the names of :class:`LossWeights`, weighted, without
            gradients: they add up to the loss.
        """
        weights = self.weights
        values: dict[str, Tensor] = {}
        filled = terms.composite(predicted, target, mask_N1HW)
        if weights.ssim:
            values["ssim"] = 1 - terms.ssim(filled, target)
        if weights.mae:
            values["mae"] = terms.l1(filled, target)
        if weights.mse:
            values["mse"] = terms.l2(filled, target)
        if weights.hole_l1:
            values["hole_l1"] = terms.hole_l1(filled, target, mask_N1HW)
        if weights.known_l1:
            values["known_l1"] = terms.weighted_l1(predicted, target, mask_N1HW, known_weight=1, hole_weight=0)
        if self.lpips is not None:
            values |= self._compare_features(self.lpips, *terms.jitter(weights.jitter, filled, target, mask_N1HW))
        weighted = {name: getattr(weights, name) * value for name, value in values.items()}
        total = torch.stack(list(weighted.values())).sum() if weighted else predicted.float().sum() * 0
        return total, {name: term.detach() for name, term in weighted.items()}

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
                values["lpips_hole"] = terms.mean_around_hole(at_pixels, mask_N1HW, margin=HOLE_MARGIN)
        if self.weights.perceptual:
            values["perceptual"] = terms.feature_distance(features_filled, features_target)
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


def make_discriminator(weights: LossWeights) -> PatchDiscriminator | None:
    """Return a new discriminator for the adversarial loss that ``weights`` describes; None if it has none."""
    if weights.adversarial_kind == "none":
        return None
    norm: Literal["batch", "none"] = "none" if weights.adversarial_kind == "wasserstein" else "batch"
    return PatchDiscriminator(
        4 if weights.discriminator_sees_mask else 3,
        channels=weights.discriminator_channels,
        num_layers=weights.discriminator_layers,
        norm=norm,
    )
