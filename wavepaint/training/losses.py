"""Training losses on composited images.

All take (N, 3, H, W) in [0, 1] and masks (N, 1, H, W) with 1 = hole, and compute in float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from wavepaint.training.config import TrainConfig


def _gaussian_blur(x_NCHW: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """Blur without padding: (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    t = torch.arange(size, dtype=x_NCHW.dtype, device=x_NCHW.device) - (size - 1) / 2
    window = torch.exp(-(t**2) / (2 * sigma**2))
    window = (window / window.sum()).expand(x_NCHW.shape[1], 1, size)
    channels = x_NCHW.shape[1]
    x = F.conv2d(x_NCHW, window[:, :, :, None], groups=channels)
    return F.conv2d(x, window[:, :, None, :], groups=channels)


def ssim(a_NCHW: Tensor, b_NCHW: Tensor) -> Tensor:
    """Mean structural similarity, differentiable.

    Window, constants and definition are those of :func:`wavepaint.metrics.ssim_map`; pixels whose window leaves the
    image are not counted.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004).
    """
    a, b = a_NCHW.float(), b_NCHW.float()
    # One blur of everything that has to be blurred: five times fewer kernel launches.
    blurred = _gaussian_blur(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mean_a, mean_b, aa, bb, ab = blurred.chunk(5, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    return (luminance * structure).mean()


def hole_l1(output: Tensor, target: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Mean absolute error over the pixels of the hole alone, all channels."""
    error = (output.float() - target.float()).abs() * mask_N1HW
    return error.sum() / (mask_N1HW.sum() * output.shape[1]).clamp_min(1)


def training_loss(config: TrainConfig, output: Tensor, target: Tensor, mask_N1HW: Tensor) -> Tensor:
    """The weighted sum that ``config`` describes."""
    loss = output.new_zeros((), dtype=torch.float32)
    if config.ssim_weight:
        loss = loss + config.ssim_weight * (1 - ssim(output, target))
    if config.mae_weight:
        loss = loss + config.mae_weight * (output.float() - target.float()).abs().mean()
    if config.hole_l1_weight:
        loss = loss + config.hole_l1_weight * hole_l1(output, target, mask_N1HW)
    return loss
