"""Image quality inside the hole, in numpy: PSNR, SSIM, L1 and L2.

All functions take floating-point arrays (H, W, C) or (N, H, W, C) in [0, 1], and masks of the same shape without the
channel axis. A mask is 1 at the pixels that count (the hole). They compute in float64.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Mask = NDArray[Any]


def _inside(values: NDArray[np.float64], mask: Mask | None) -> NDArray[np.float64]:
    if mask is None:
        return values.reshape(-1)
    inside: NDArray[np.float64] = values[np.broadcast_to(mask.astype(bool)[..., None], values.shape)]
    return inside


def masked_l1(a: Array, b: Array, mask: Mask | None = None) -> float:
    """Mean absolute difference inside ``mask``, over all channels; NaN for an empty mask."""
    values = _inside(np.abs(np.asarray(a, np.float64) - b), mask)
    return float(values.mean()) if values.size else math.nan


def masked_l2(a: Array, b: Array, mask: Mask | None = None) -> float:
    """Mean squared difference inside ``mask``, over all channels; NaN for an empty mask."""
    values = _inside((np.asarray(a, np.float64) - b) ** 2, mask)
    return float(values.mean()) if values.size else math.nan


def psnr(a: Array, b: Array, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for equal inputs, NaN for an empty mask."""
    error = masked_l2(a, b, mask)
    return math.inf if error == 0 else -10 * math.log10(error) if math.isfinite(error) else math.nan


def _gaussian_window(size: int = 11, sigma: float = 1.5) -> NDArray[np.float64]:
    x = np.arange(size) - (size - 1) / 2
    window: NDArray[np.float64] = np.exp(-(x**2) / (2 * sigma**2))
    return window / float(window.sum())


def _filter(image: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter the axes -3 and -2 separably, with borders mirrored about the edge (scipy's ``reflect``)."""
    radius = len(window) // 2
    for axis in (image.ndim - 3, image.ndim - 2):
        widths = [(0, 0)] * image.ndim
        widths[axis] = (radius, radius)
        padded = np.pad(image, widths, mode="symmetric")
        length = image.shape[axis]
        before = (slice(None),) * axis
        image = sum(w * padded[(*before, slice(i, i + length))] for i, w in enumerate(window))
    return image


def ssim_map(a: Array, b: Array) -> NDArray[np.float64]:
    """Structural similarity at every pixel and channel.

    Gaussian window of 11 pixels, sigma 1.5, k1 = 0.01, k2 = 0.03, peak 1, as in Z. Wang et al., "Image quality
    assessment: from error visibility to structural similarity" (2004), and in scikit-image with
    ``gaussian_weights=True, use_sample_covariance=False``.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    window = _gaussian_window()
    mean_x, mean_y = _filter(x, window), _filter(y, window)
    var_x = _filter(x * x, window) - mean_x**2
    var_y = _filter(y * y, window) - mean_y**2
    cov = _filter(x * y, window) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def ssim(a: Array, b: Array, mask: Mask | None = None) -> float:
    """Mean of :func:`ssim_map` inside ``mask``; NaN for an empty mask."""
    values = _inside(ssim_map(a, b), mask)
    return float(values.mean()) if values.size else math.nan
