"""The initial fill: a hole filled with the smooth colours around it by a pull-push pyramid without weights.

Pull: average the known pixels over 2x2 cells, level by level, until every cell is known. Push: return level by level,
copy the coarser level into the cells that are unknown, and smooth these by replacing each with the mean of its
neighbourhood a few times. The result is close to the harmonic (membrane) fill. It consists of pooling and resizing, so
it exports with the network. A network that starts from this fill has to learn only structure, not colour.

Source: S. Gortler et al., "The Lumigraph" (1996), section 3.4 (pull-push); the smoothing is this project's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from wavepaint.errors import ConfigError
from wavepaint.ops.maps import check_maps, check_mask, crop_like

FINE_STEPS, COARSE_STEPS = 2, 6
"""Smoothing steps at full size and at every coarser level, where a step costs almost nothing. On photographs with
medium masks, (0, 0), (2, 2), (2, 4), (2, 6) and (4, 8) gave 19.5, 20.0, 20.2, 20.3 and 20.3 dB inside the hole."""


def _neighbour_sum(x_NCHW: Tensor) -> Tensor:
    # Engines run this convolution 3 to 5 times as fast as pooling.
    channels = x_NCHW.shape[1]
    return F.conv2d(x_NCHW, x_NCHW.new_ones(channels, 1, 3, 3), padding=1, groups=channels)


def _find_excess(line_N1HW: Tensor) -> Tensor:
    """Return, for the pixels of one row or column, 3 divided by the number of neighbours along it inside the image."""
    return 3 / _neighbour_sum(torch.ones_like(line_N1HW))


def _cell_mean(x_NCHW: Tensor) -> Tensor:
    # The padded zeros count as unknown pixels and are read only at odd sizes. Pooling with ceil_mode would be
    # equivalent, but OpenVINO refuses it at size 1.
    return F.avg_pool2d(F.pad(x_NCHW, (0, 1, 0, 1)), 2)


def _divide_by_weight(total_NCHW: Tensor, weight_N1HW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the total divided by its weight (0 where both are 0), and a mask of the weights above 0."""
    known = (weight_N1HW > 0).to(weight_N1HW.dtype)
    return total_NCHW / (weight_N1HW + (1 - known)), known


def fill_levels(image_NCHW: Tensor, mask_N1HW: Tensor, num_levels: int) -> list[Tensor]:
    """Fill the hole with a smooth continuation of its surroundings, at full size and at every coarser level.

    Args:
        image_NCHW: Floating, any range, any content in the hole.
        mask_N1HW: 1 in the hole, 0 where the image is known; no values between.
        num_levels: Halvings, 0 or more. The middle of a hole wider than 2 ** num_levels gets the mean colour.

    Returns:
        The filled image (N, C, H, W), then its halvings, with sides rounded up. A cell with known pixels has their
        mean, any other cell the fill. If nothing is known, the fill is 0.

    Raises:
        ConfigError: ``num_levels`` is negative.
        ImageError: Wrong number of dimensions or dtype, or a mask of another size than the image.
    """
    if not isinstance(num_levels, int) or num_levels < 0:
        raise ConfigError(f"num_levels is {num_levels!r}: expected 0 or more.")
    check_maps(image_NCHW, "the image")
    check_mask(mask_N1HW, image_NCHW)
    dtype, device = image_NCHW.dtype, image_NCHW.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return fill_levels(image_NCHW, mask_N1HW, num_levels)
    if dtype.itemsize < 4:  # half a ninth's digits would darken the fill step by step
        return [fill.to(dtype) for fill in fill_levels(image_NCHW.float(), mask_N1HW.float(), num_levels)]
    known = 1 - mask_N1HW
    level = image_NCHW * known
    pyramid = [(level, known)]
    for _ in range(num_levels):
        level, known = _divide_by_weight(_cell_mean(level), _cell_mean(known))
        pyramid.append((level, known))
    top, known = pyramid.pop()
    mean, _ = _divide_by_weight(top.mean((2, 3), keepdim=True), known.mean((2, 3), keepdim=True))
    fill = top + mean * (1 - known)
    fills = [fill]
    for depth, (level, known) in reversed(list(enumerate(pyramid))):
        fill = crop_like(F.interpolate(fill, scale_factor=2, mode="bilinear", align_corners=False), level)
        unknown = 1 - known
        fill = level + fill * unknown
        # The product of two rounded thirds would be a ninth with 8 times the error, which adds up over the steps.
        mean = unknown * (_find_excess(unknown[:, :, :, :1]) / 9) * _find_excess(unknown[:, :, :1])
        for _ in range(COARSE_STEPS if depth else FINE_STEPS):
            fill = level + _neighbour_sum(fill) * mean
        fills.append(fill)
    return fills[::-1]
