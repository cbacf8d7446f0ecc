"""Training losses that compare an output with its target.

All take (N, 3, H, W) in [0, 1] and masks (N, 1, H, W) with 1 = hole, and compute in float32, or in float64 where they
get that. They return scalars that are 0 for an output equal to its target; :func:`ssim` alone, a similarity, is 1 then.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Return 16-bit floats as float32, and any other tensor as it is."""
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

    Window, constants and definition are those of :func:`wavepaint.metrics.image_quality.ssim_map`; pixels whose window
    leaves the image are not counted.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004).
    """
    a, b = widen(a_NCHW), widen(b_NCHW)
    # One blur of everything that has to be blurred: five times fewer kernel launches.
    blurred = _gaussian_blur(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mean_a, mean_b, aa, bb, ab = blurred.chunk(5, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    return (luminance * structure).mean()


def hole_l1(output: Tensor, target: Tensor, mask_N1HW: Tensor, *, num_pixels: Tensor | None = None) -> Tensor:
    """Mean absolute error over the pixels of the hole alone, all channels; 0 where no image has a hole.

    Args:
        output: What the network made.
        target: What it should have made.
        mask_N1HW: 1 = hole.
        num_pixels: What the sum is divided by, in place of these holes' pixels: the mean over all parts of a batch.
    """
    error = (widen(output) - widen(target)).abs() * mask_N1HW
    return error.sum() / ((mask_N1HW.sum().clamp_min(1) if num_pixels is None else num_pixels) * output.shape[1])


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the whole image."""
    return (widen(output) - widen(target)).abs().mean()


def l2(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the whole image."""
    return (widen(output) - widen(target)).square().mean()


def weighted_l1(
    output: Tensor, target: Tensor, mask_N1HW: Tensor, *, known_weight: float, hole_weight: float
) -> Tensor:
    """Mean over all pixels of the absolute error, weighted by whether the pixel is known.

    LaMa has 10 for known pixels and 0 for the hole. Of a network that returns known pixels as they are, as all of
    this package do, their error is 0 and nothing is learnt from it.

    Source: R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (2022), section 2.3
    and ``masked_l1_loss`` of the authors' code.
    """
    weight = known_weight + (hole_weight - known_weight) * mask_N1HW.float()
    return ((widen(output) - widen(target)).abs() * weight).mean()


def hybrid(
    output: Tensor, target: Tensor, distance: Callable[[Tensor, Tensor], Tensor], *, alpha: float = 0.5
) -> Tensor:
    """WavePaint's loss: 10 (LPIPS + (1 - alpha) L1 + alpha L2).

    Args:
        output: What the network made.
        target: What it should have made.
        distance: LPIPS, (N,) for a batch of N.
        alpha: Share of L2, 0 to 1.

    The authors' code gives LPIPS, of AlexNet, images in [0, 1] where it expects [-1, 1]; here they are scaled as they
    should be, which about doubles what contrast it sees.

    Source: P. Jeevan et al., "WavePaint: Resource-efficient Token-mixer for Self-supervised Inpainting" (2023).
    """
    perceptual = distance(output, target).mean()
    return 10 * (perceptual + (1 - alpha) * l1(output, target) + alpha * l2(output, target))


def composite(output: Tensor, target: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Put what the network made into the hole, and the target everywhere else."""
    return torch.where(mask_N1HW > 0.5, output, target.to(output.dtype))


def draw_shift(most: int, generator: torch.Generator | None = None) -> tuple[int, int]:
    """Return how many rows and columns :func:`jitter` cuts off at the beginning, each 0 to ``most``.

    Args:
        most: With 0 nothing is drawn.
        generator: Of the CPU; None is PyTorch's own.
    """
    if not most:
        return 0, 0
    top, left = torch.randint(most + 1, (2,), generator=generator).tolist()
    return top, left


def jitter(most: int, shift: tuple[int, int], *tensors_NCHW: Tensor) -> tuple[Tensor, ...]:
    """Cut ``most`` rows and as many columns off tensors of one size, ``shift`` of them at the beginning."""
    if not most:
        return tensors_NCHW
    top, left = shift
    height, width = (side - most for side in tensors_NCHW[0].shape[2:])
    return tuple(tensor[:, :, top : top + height, left : left + width] for tensor in tensors_NCHW)


def dilate_mask(mask_N1HW: Tensor, margin: int) -> Tensor:
    """Grow the hole by ``margin`` pixels in each direction, diagonals included."""
    # Along one axis, then along the other: for a margin of 16 a sixteenth of the work.
    rows = F.max_pool2d(mask_N1HW.float(), (2 * margin + 1, 1), stride=1, padding=(margin, 0))
    return F.max_pool2d(rows, (1, 2 * margin + 1), stride=1, padding=(0, margin))


def mean_around_hole(map_N1HW: Tensor, mask_N1HW: Tensor, *, margin: int, num_pixels: Tensor | None = None) -> Tensor:
    """Mean of a map over the hole and the ``margin`` pixels around it; 0 where no image has a hole.

    With the map of :class:`~wavepaint.metrics.lpips.LPIPS` (``spatial=True``) of a composite it is LPIPS in
    and around the hole: neither diluted by known pixels nor blind to a visible seam, whatever share of the image is
    hole. ``num_pixels`` takes the place of the number of these pixels, as in :func:`hole_l1`.
    """
    region = dilate_mask(mask_N1HW, margin)
    return (widen(map_N1HW) * region).sum() / (region.sum().clamp_min(1) if num_pixels is None else num_pixels)


def feature_distance(features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference of their maps.

    Source: LaMa's perceptual loss (Suvorov et al. 2022, eq. 3), ``ResNetPL`` and ``PerceptualLoss`` of its code.
    """
    pairs = zip(features_a, features_b, strict=True)
    return torch.stack([F.mse_loss(widen(a), widen(b)) for a, b in pairs]).sum()
