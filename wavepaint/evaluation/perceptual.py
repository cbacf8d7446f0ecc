"""LPIPS of a fill, inside the hole, around it, and over the whole image."""

import numpy as np
import torch
from torch import Tensor

from wavepaint.data.validation_set import Pixels
from wavepaint.metrics.lpips import LPIPS, average_and_add, upscale_and_add
from wavepaint.training.losses.objective import HOLE_MARGIN
from wavepaint.training.losses.reconstruction import dilate_mask


def to_tensor(image: Pixels) -> Tensor:
    """Return (1, 3, H, W) float32 in [0, 1] of an image (H, W, 3) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def measure_lpips(lpips: LPIPS, filled: Pixels, photo: Pixels, mask: Pixels) -> tuple[float, float, float]:
    """Return LPIPS inside the hole, in the ring around it, and over the whole image."""
    device = lpips.mean.device
    hole = torch.from_numpy(mask)[None, None].float().to(device)
    ring = dilate_mask(hole, HOLE_MARGIN) - hole
    maps = lpips.compare(lpips.features(to_tensor(filled).to(device)), lpips.features(to_tensor(photo).to(device)))
    at_pixels = upscale_and_add(maps, (mask.shape[0], mask.shape[1]))
    inside, around = ((at_pixels * region).sum() / region.sum().clamp_min(1) for region in (hole, ring))
    return float(inside), float(around), float(average_and_add(maps))
