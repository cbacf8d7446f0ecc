"""The weighted sum of all losses that compare an output with its target.

Adversarial losses are separate (:mod:`wavepaint.training.losses.adversarial`), because a step alternates between their
two halves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips import LPIPS, average_and_add, upscale_and_add
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.losses import reconstruction

HOLE_MARGIN = 16
"""Pixels around the hole that count in its LPIPS: as far as a seam shows, and the stride of AlexNet's trunk."""


@dataclass(frozen=True, kw_only=True)
class BatchInfo:
    """Facts of a whole batch that the losses of its micro-batches need.

    A mean over hole pixels is a ratio. Every micro-batch divides by the pixel count averaged over all micro-batches
    and processes. The mean over the micro-batches is then the mean over the batch, and so is its gradient.

    Attributes:
        shift: Rows and columns by which the images are shifted for perceptual and adversarial losses.
        hole_pixels: Hole pixels per micro-batch, averaged; a scalar above 0.
        nearby_pixels: Pixels in and around the shifted holes per micro-batch, averaged; 1 if no loss needs them.
    """

    shift: tuple[int, int]
    hole_pixels: Tensor
    nearby_pixels: Tensor


class Objective(nn.Module):
    """The weighted sum of the losses that compare an output with its target.

    All losses compare the target with the filled image (the prediction in the hole, the target outside), except
    ``known_l1``, which compares the prediction outside the hole. The perceptual losses share one pass through the
    trunk.

    Args:
        config: The loss weights.
        lpips: The perceptual network; required by perceptual losses.

    Raises:
        ConfigError: A required perceptual network is missing, or has another trunk than ``config`` names.
    """

    def __init__(self, config: LossConfig, lpips: LPIPS | None = None) -> None:
        super().__init__()
        if config.needs_lpips and (lpips is None or lpips.network != config.lpips_network):
            got = "none" if lpips is None else lpips.network
            raise ConfigError(
                f"the loss needs the network of LPIPS {config.lpips_network}, got {got}: set --lpips-network and "
                "--lpips-weights to match."
            )
        self.config = config
        self.lpips = lpips if config.needs_lpips else None

    @torch.no_grad()
    def describe_batch(
        self,
        masks: Sequence[Tensor],
        *,
        generator: torch.Generator | None = None,
        sum_over_processes: Callable[[Tensor], Tensor] = lambda counts: counts,
    ) -> BatchInfo:
        """Collect the facts of a batch before its micro-batches are compared.

        Args:
            masks: The masks of this process's micro-batches, (N, 1, H, W) of one size.
            generator: Draws the shift, and nothing else; it must be the same in all processes.
            sum_over_processes: Sums a tensor over the processes.
        """
        shift = reconstruction.draw_shift(self.config.jitter, generator)
        counts = []
        for mask in masks:
            count = mask.sum()
            nearby = torch.ones_like(count)
            if self.config.lpips_hole:
                (shown,) = reconstruction.shift_and_crop(self.config.jitter, shift, mask)
                nearby = reconstruction.dilate_mask(shown, HOLE_MARGIN).sum()
            counts.append(torch.stack([count, nearby, torch.ones_like(count)]))
        hole, nearby, num_masks = sum_over_processes(torch.stack(counts).sum(dim=0)).clamp_min(1)
        return BatchInfo(shift=shift, hole_pixels=hole / num_masks, nearby_pixels=nearby / num_masks)

    def forward(
        self, predicted: Tensor, target: Tensor, mask_N1HW: Tensor, batch: BatchInfo | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare a prediction with its target.

        Args:
            predicted: (N, 3, H, W), the network's prediction of the whole image, ideally in [0, 1].
            target: (N, 3, H, W) in [0, 1].
            mask_N1HW: 1 = hole.
            batch: Facts of the batch that this is a part of; None treats this as the whole batch.

        Returns:
            The loss, a float32 scalar (float64 for float64 inputs); and its weighted terms without gradients, by the
            names of :class:`LossConfig`. The terms add up to the loss.
        """
        config = self.config
        batch = batch or self.describe_batch([mask_N1HW])
        values: dict[str, Tensor] = {}
        filled = reconstruction.composite(predicted, target, mask_N1HW)
        if config.ssim:
            values["ssim"] = 1 - reconstruction.ssim(filled, target)
        if config.mae:
            values["mae"] = reconstruction.l1(filled, target)
        if config.mse:
            values["mse"] = reconstruction.l2(filled, target)
        if config.hole_l1:
            values["hole_l1"] = reconstruction.hole_l1(filled, target, mask_N1HW, num_pixels=batch.hole_pixels)
        if config.known_l1:
            values["known_l1"] = reconstruction.known_l1(predicted, target, mask_N1HW)
        if self.lpips is not None:
            shown = reconstruction.shift_and_crop(config.jitter, batch.shift, filled, target, mask_N1HW)
            values |= self._compare_features(self.lpips, batch.nearby_pixels, *shown)
        weighted = {name: getattr(config, name) * value for name, value in values.items()}
        total = torch.stack(list(weighted.values())).sum() if weighted else reconstruction.widen(predicted).sum() * 0
        return total, {name: term.detach() for name, term in weighted.items()}

    def _compare_features(
        self, lpips: LPIPS, nearby_pixels: Tensor, filled: Tensor, target: Tensor, mask_N1HW: Tensor
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            features_target = lpips.features(target)
        features_filled = lpips.features(filled)
        values: dict[str, Tensor] = {}
        if self.config.lpips or self.config.lpips_hole:
            maps = lpips.compare(features_filled, features_target)
            if self.config.lpips:
                values["lpips"] = average_and_add(maps).mean()
            if self.config.lpips_hole:
                at_pixels = upscale_and_add(maps, (target.shape[2], target.shape[3]))
                values["lpips_hole"] = reconstruction.mean_around_hole(
                    at_pixels, mask_N1HW, margin=HOLE_MARGIN, num_pixels=nearby_pixels
                )
        if self.config.perceptual:
            values["perceptual"] = reconstruction.feature_distance(features_filled, features_target)
        return values
