"""Validation: how well a network fills a fixed set of images with fixed masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wavepaint.data.validation_set import Pair, Pixels
from wavepaint.metrics import image_quality
from wavepaint.metrics.lpips import LPIPS
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.measures import Metrics
from wavepaint.training.run_log import NUM_SAMPLE_ROWS, draw_samples

BATCH_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class ValidationMetrics(Metrics):
    """Means over the validation images, inside the hole.

    Attributes:
        psnr_db: PSNR.
        ssim: Structural similarity.
        lpips: Perceptual distance; None without a perceptual network.
    """

    psnr_db: float
    ssim: float
    lpips: float | None

    def describe(self) -> str:
        text = f"{self.psnr_db:.2f} dB, SSIM {self.ssim:.4f}"
        return f"{text}{'' if self.lpips is None else f', LPIPS {self.lpips:.4f}'} inside the hole"

    def to_record(self) -> dict[str, Any]:
        return {"psnr_hole_db": self.psnr_db, "ssim_hole": self.ssim, "lpips_hole": self.lpips}


def _measure_lpips(lpips: LPIPS, a_N3HW: Tensor, b_N3HW: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Return the mean distance of each pair inside its mask, (N,)."""
    distance = lpips(a_N3HW, b_N3HW, spatial=True)
    inside: Tensor = (distance * mask_N1HW).sum(dim=(1, 2, 3)) / mask_N1HW.sum(dim=(1, 2, 3)).clamp_min(1)
    return inside


class Validator:
    """The validation images of a run, divided among its processes.

    Args:
        pairs: Image (S, S, 3) uint8 and mask (S, S) of 0 and 1; the same list in every process.
        device: The device of the network.
        lpips: The perceptual network, if one is loaded.
        context: The processes of the run.
    """

    metrics = ValidationMetrics

    def __init__(
        self, pairs: Sequence[Pair], device: torch.device, lpips: LPIPS | None, context: DistributedContext
    ) -> None:
        self.pairs = pairs
        self._own = list(pairs[context.rank :: context.size])
        self._device = device
        self._lpips = lpips
        self._context = context

    @torch.inference_mode()
    def measure(self, model: nn.Module) -> ValidationMetrics:
        """Measure a network in float32. Every process returns the same metrics."""
        model.eval()
        rows: list[tuple[float, float, float]] = []
        for first in range(0, len(self._own), BATCH_SIZE):
            batch = self._own[first : first + BATCH_SIZE]
            image, mask = self._stack(batch)
            filled = model(image, mask).clamp(0, 1)
            distances = _measure_lpips(self._lpips, filled, image, mask).tolist() if self._lpips else [0.0] * len(batch)
            outputs = filled.permute(0, 2, 3, 1).cpu().numpy()
            for (photo, hole), output, distance in zip(batch, outputs, distances, strict=True):
                target = photo / 255
                psnr_db, ssim = (metric(output, target, hole) for metric in (image_quality.psnr, image_quality.ssim))
                rows.append((psnr_db, ssim, distance))
        everyone = [row for part in self._context.gather(rows) for row in part]
        psnr_db, ssim, lpips = np.mean(everyone, axis=0).tolist()
        return ValidationMetrics(psnr_db=psnr_db, ssim=ssim, lpips=lpips if self._lpips else None)

    @torch.inference_mode()
    def fill_samples(self, model: nn.Module, count: int) -> list[tuple[Pixels, Pixels, Pixels]]:
        """Return image, mask and filled image of the first validation images."""
        model.eval()
        samples = []
        for pair in self.pairs[:count]:
            filled = model(*self._stack([pair])).clamp(0, 1)[0].permute(1, 2, 0).cpu().numpy()
            samples.append((*pair, np.round(filled * 255).astype(np.uint8)))
        return samples

    def draw(self, model: nn.Module) -> Image.Image:
        """Return a picture of the first validation images, filled."""
        return draw_samples(self.fill_samples(model, NUM_SAMPLE_ROWS))

    def draw_example(self) -> Image.Image:
        """Return a picture that compresses about as well: a hole with its original in it."""
        return draw_samples([(image, mask, image) for image, mask in self.pairs[:NUM_SAMPLE_ROWS]])

    def _stack(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(np.stack([image for image, _ in pairs])).to(self._device).permute(0, 3, 1, 2)
        mask = torch.from_numpy(np.stack([mask for _, mask in pairs])).to(self._device)[:, None]
        return image.float() / 255, mask.float()
