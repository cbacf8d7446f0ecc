"""Losses that compare an output with its target.

All functions take (N, 3, H, W) in [0, 1] and masks (N, 1, H, W) with 1 = hole. They compute in float32, or in float64
for float64 inputs. They return scalars that are 0 for an output equal to its target, except :func:`ssim`, a similarity
that is then 1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Return 16-bit floats as float32, and any other tensor unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


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

    Window, constants and definition are those of :func:`wavepaint.metrics.image_quality.ssim_map`. Pixels whose window
    leaves the image do not count.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004).
    """
    a, b = widen(a_NCHW), widen(b_NCHW)
    # One blur of all five maps needs a fifth of the kernel launches. Autocast would blur in half precision, whose error
    # is larger than most variances, which are differences of the blurred maps.
    with torch.autocast(a.device.type, enabled=False):
        blurred = _gaussian_blur(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mean_a, mean_b, aa, bb, ab = blurred.chunk(5, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    return (luminance * structure).mean()


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the whole image."""
    return (widen(output) - widen(target)).abs().mean()


def l2(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the whole image."""
    return (widen(output) - widen(target)).square().mean()


def hole_l1(output: Tensor, target: Tensor, mask_N1HW: Tensor, *, num_pixels: Tensor | None = None) -> Tensor:
    """Mean absolute error over the pixels of the hole, all channels; 0 if no image has a hole.

    Args:
        output: The network's output.
        target: The original.
        mask_N1HW: 1 = hole.
        num_pixels: Number of hole pixels to divide by, averaged over the micro-batches of a batch; None counts those of
            ``mask_N1HW``.
    """
    error = (widen(output) - widen(target)).abs() * mask_N1HW
    return error.sum() / ((mask_N1HW.sum().clamp_min(1) if num_pixels is None else num_pixels) * output.shape[1])


def known_l1(output: Tensor, target: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Mean over all pixels of the absolute error at known pixels.

    A network that copies known pixels to its output learns nothing from this loss.

    Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (2022), section 2.3,
    and ``masked_l1_loss`` of the authors' code with a weight of 0 for the hole.
    """
    return ((widen(output) - widen(target)).abs() * (1 - mask_N1HW.float())).mean()


def composite(output: Tensor, target: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Return the output inside the hole and the target outside it."""
    return torch.where(mask_N1HW > 0.5, output, target.to(output.dtype))


def draw_shift(most: int, generator: torch.Generator | None = None) -> tuple[int, int]:
    """Return the rows and columns that :func:`shift_and_crop` removes at the top and left, each 0 to ``most``.

    Args:
        most: With 0 the function draws no random number.
        generator: A generator on the CPU; None uses PyTorch's default.
    """
    if not most:
        return 0, 0
    top, left = torch.randint(most + 1, (2,), generator=generator).tolist()
    return top, left


def shift_and_crop(most: int, shift: tuple[int, int], *tensors_NCHW: Tensor) -> tuple[Tensor, ...]:
    """Crop tensors of one size by ``most`` rows and columns, ``shift`` of them at the top and left."""
    if not most:
        return tensors_NCHW
    top, left = shift
    height, width = (side - most for side in tensors_NCHW[0].shape[2:])
    return tuple(tensor[:, :, top : top + height, left : left + width] for tensor in tensors_NCHW)


def dilate_mask(mask_N1HW: Tensor, margin: int) -> Tensor:
    """Grow the hole by ``margin`` pixels in each direction, including diagonals."""
    # One axis after the other: for a margin of 16 a sixteenth of the work.
    rows = F.max_pool2d(mask_N1HW.float(), (2 * margin + 1, 1), stride=1, padding=(margin, 0))
    return F.max_pool2d(rows, (1, 2 * margin + 1), stride=1, padding=(0, margin))


def mean_around_hole(map_N1HW: Tensor, mask_N1HW: Tensor, *, margin: int, num_pixels: Tensor | None = None) -> Tensor:
    """Mean of a map over the hole and the ``margin`` pixels around it; 0 if no image has a hole.

    With the spatial map of :class:`~wavepaint.metrics.lpips.LPIPS` of a composite, it is LPIPS in and around the hole.
    Known pixels do not dilute it, and it includes a visible seam. ``num_pixels`` is as in :func:`hole_l1`.
    """
    region = dilate_mask(mask_N1HW, margin)
    return (widen(map_N1HW) * region).sum() / (region.sum().clamp_min(1) if num_pixels is None else num_pixels)


def feature_distance(features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference of their maps.

    Source: LaMa's perceptual loss (Suvorov et al. 2022, eq. 3), ``ResNetPL`` and ``PerceptualLoss`` of its code.
    """
    pairs = zip(features_a, features_b, strict=True)
    return torch.stack([F.mse_loss(widen(a), widen(b)) for a, b in pairs]).sum()
