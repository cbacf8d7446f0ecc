"""What a training minimises: the weights of all losses, and their sum.

The adversarial terms are apart (:func:`make_adversarial_loss`), since they come in two halves between which a loop
alternates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips import LPIPS, average_and_add, upscale_and_add
from wavepaint.training.config import LossConfig
from wavepaint.training.losses import terms
from wavepaint.training.losses.adversarial import (
    AdversarialLoss,
    NonSaturatingLoss,
    PatchDiscriminator,
    WassersteinLoss,
)

HOLE_MARGIN = 16
"""Pixels around the hole that count in its LPIPS: as far as the eye looks for a seam, a stride of AlexNet's trunk."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the losses of a part have to know of its whole batch, so that its parts add up to it.

    A mean over the pixels of holes is a ratio. It is divided by the pixels of all parts in all processes, of which each
    part takes its share: the mean over the parts is then that of the batch, and so is its gradient.

    Attributes:
        shift: Rows and columns by which images are moved before perceptual and adversarial losses look at them.
        hole_pixels: Pixels in the holes of a part, the mean over all parts; a scalar, above 0.
        nearby_pixels: The same of the pixels in and around the holes, as shifted; 1 where no loss asks for them.
    """

    shift: tuple[int, int]
    hole_pixels: Tensor
    nearby_pixels: Tensor


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

    def __init__(self, weights: LossConfig, lpips: LPIPS | None = None) -> None:
        super().__init__()
        if weights.needs_lpips and (lpips is None or lpips.network != weights.lpips_network):
            got = "none" if lpips is None else lpips.network
            raise ConfigError(
                f"the loss needs the network of LPIPS {weights.lpips_network}, got {got}: set --lpips-network and "
                "--lpips-weights to match."
            )
        self.weights = weights
        self.lpips = lpips if weights.needs_lpips else None

    @torch.no_grad()
    def survey(
        self,
        masks: Sequence[Tensor],
        *,
        generator: torch.Generator | None = None,
        add_up: Callable[[Tensor], Tensor] = lambda counts: counts,
    ) -> Survey:
        """Look at a batch's masks, before its parts are compared.

        Args:
            masks: Of each of its parts in this process, (N, 1, H, W), equally large.
            generator: For the shift, which is drawn from nothing else; the same in all processes.
            add_up: Adds a tensor up over the processes.
        """
        shift = terms.draw_shift(self.weights.jitter, generator)
        counts = []
        for mask in masks:
            count = mask.sum()
            nearby = torch.ones_like(count)
            if self.weights.lpips_hole:
                (shown,) = terms.jitter(self.weights.jitter, shift, mask)
                nearby = terms.dilate_mask(shown, HOLE_MARGIN).sum()
            counts.append(torch.stack([count, nearby, torch.ones_like(count)]))
        hole_pixels, nearby_pixels, num_parts = add_up(torch.stack(counts).sum(dim=0)).clamp_min(1)
        return Survey(shift=shift, hole_pixels=hole_pixels / num_parts, nearby_pixels=nearby_pixels / num_parts)

    def forward(
        self, predicted: Tensor, target: Tensor, mask_N1HW: Tensor, survey: Survey | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare.

        Args:
            predicted: (N, 3, H, W), the network's prediction of the whole image, in [0, 1] where it is good.
            target: (N, 3, H, W) in [0, 1].
            mask_N1HW: 1 = hole.
            survey: Of the batch that this is a part of; None takes it for the whole.

        Returns:
            The loss, a float32 scalar (float64 for float64); and its terms by the names of :class:`LossConfig`,
            weighted, without gradients: they add up to the loss.
        """
        weights = self.weights
        survey = survey or self.survey([mask_N1HW])
        values: dict[str, Tensor] = {}
        filled = terms.composite(predicted, target, mask_N1HW)
        if weights.ssim:
            values["ssim"] = 1 - terms.ssim(filled, target)
        if weights.mae:
            values["mae"] = terms.l1(filled, target)
        if weights.mse:
            values["mse"] = terms.l2(filled, target)
        if weights.hole_l1:
            values["hole_l1"] = terms.hole_l1(filled, target, mask_N1HW, num_pixels=survey.hole_pixels)
        if weights.known_l1:
            values["known_l1"] = terms.weighted_l1(predicted, target, mask_N1HW, known_weight=1, hole_weight=0)
        if self.lpips is not None:
            shown = terms.jitter(weights.jitter, survey.shift, filled, target, mask_N1HW)
            values |= self._compare_features(self.lpips, survey.nearby_pixels, *shown)
        weighted = {name: getattr(weights, name) * value for name, value in values.items()}
        total = torch.stack(list(weighted.values())).sum() if weighted else terms.widen(predicted).sum() * 0
        return total, {name: term.detach() for name, term in weighted.items()}

    def _compare_features(
        self, lpips: LPIPS, nearby_pixels: Tensor, filled: Tensor, target: Tensor, mask_N1HW: Tensor
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            features_target = lpips.features(target)
        features_filled = lpips.features(filled)
        values: dict[str, Tensor] = {}
        if self.weights.lpips or self.weights.lpips_hole:
            maps = lpips.compare(features_filled, features_target)
            if self.weights.lpips:
                values["lpips"] = average_and_add(maps).mean()
            if self.weights.lpips_hole:
                at_pixels = upscale_and_add(maps, (target.shape[2], target.shape[3]))
                values["lpips_hole"] = terms.mean_around_hole(
                    at_pixels, mask_N1HW, margin=HOLE_MARGIN, num_pixels=nearby_pixels
                )
        if self.weights.perceptual:
            values["perceptual"] = terms.feature_distance(features_filled, features_target)
        return values


def make_adversarial_loss(weights: LossConfig) -> AdversarialLoss | None:
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


def make_discriminator(weights: LossConfig) -> PatchDiscriminator | None:
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
