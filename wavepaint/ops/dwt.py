"""The two-dimensional discrete wavelet transform as fixed-weight strided convolutions.

One analysis level is a stride-2 convolution with four fixed filters a channel; one synthesis level is the transposed
convolution. They export as plain ``Conv`` and ``ConvTranspose`` nodes, are differentiable and have no parameters.
Borders are handled as in PyWavelets' mode ``zero``; odd sizes are allowed.

Bands are ordered LL, LH, HL, HH as in PyWavelets' ``(cA, (cH, cV, cD))``: LH is low along the width and high along
the height, HL the reverse.

Sources: S. Mallat, "A theory for multiresolution signal decomposition" (1989); WaveMix (arXiv 2203.03689), which
uses the Haar wavelet with zero padding.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.errors import ConfigError, ImageError
from wavepaint.ops.maps import check_maps

Border = Literal["zero", "cropped"]

HAAR = ("haar", "db1")
"""PyWavelets' names of the Haar wavelet."""


@lru_cache(maxsize=64)
def _filter_bank(wavelet: str, *, synthesis: bool) -> npt.NDArray[np.float64]:
    """Return the filters (4, L, L) in the order LL, LH, HL, HH, as correlation kernels.

    An array, not a tensor: the cached value must not depend on torch's default device at the first call.
    """
    import pywt

    try:
        spec = pywt.Wavelet(wavelet)
    except (ValueError, TypeError, AttributeError) as error:  # the last two: not a string
        raise ConfigError(
            f"unknown wavelet {wavelet!r}: expected a discrete wavelet of PyWavelets, such as 'haar', 'db2' or "
            "'bior2.2' (pywt.wavelist(kind='discrete') lists them)."
        ) from error
    # A stride-2 convolution correlates and PyWavelets convolves, so analysis filters are reversed. A transposed
    # convolution scatters, so synthesis filters are not.
    low, high = (spec.rec_lo, spec.rec_hi) if synthesis else (spec.dec_lo[::-1], spec.dec_hi[::-1])
    # Rows of the kernel run along the height: LH is high there and low along the width.
    return np.stack([np.outer(low, low), np.outer(high, low), np.outer(low, high), np.outer(high, high)])


def check_wavelet(wavelet: str) -> None:
    """Check that PyWavelets knows a discrete wavelet of this name.

    Raises:
        ConfigError: There is no such wavelet.
    """
    if not isinstance(wavelet, str):
        raise ConfigError(f"wavelet is {wavelet!r}: expected the name of a discrete wavelet, such as 'haar' or 'db2'.")
    _filter_bank(wavelet, synthesis=False)


def _kernels(channels: int, wavelet: str, *, synthesis: bool) -> tuple[Tensor, Tensor]:
    """Return the grouped kernels of the low band (C, 1, L, L) and of the detail bands (3C, 1, L, L)."""
    bank = torch.tensor(_filter_bank(wavelet, synthesis=synthesis))[:, None]
    return bank[:1].repeat(channels, 1, 1, 1), bank[1:].repeat(channels, 1, 1, 1)


class DWT2d(nn.Module):
    """One analysis level on (N, C, H, W) of any floating dtype.

    Args:
        channels: C, 1 or more.
        wavelet: A discrete wavelet of PyWavelets.
        border: ``"zero"`` is PyWavelets' mode: bands of size (H + L - 1) // 2 for a filter of L taps. ``"cropped"``
            keeps the central H // 2 rows and W // 2 columns (H and W must be even), so that a WaveMix block's output
            has its input's size. For Haar (L = 2) the two are the same.

    Returns (from ``forward``):
        The low band (N, C, h, w) and the detail bands (N, 3C, h, w), channel-major: LH, HL, HH of channel 0, then of
        channel 1, and so on; ``high.unflatten(1, (C, 3))`` is PyWavelets' layout.

    Raises:
        ConfigError: An argument out of range.
        ImageError: From ``forward``, ``pad`` and ``low_band``: wrong number of dimensions, dtype or size.
    """

    low: Tensor
    high: Tensor

    def __init__(self, channels: int, wavelet: str = "haar", border: Border = "zero") -> None:
        super().__init__()
        if not isinstance(channels, int) or channels < 1:
            raise ConfigError(f"channels is {channels!r}: expected 1 or more.")
        if border not in get_args(Border):
            raise ConfigError(f"border is {border!r}: expected {' or '.join(map(repr, get_args(Border)))}.")
        self.channels = channels
        self.wavelet = wavelet
        self.border = border
        low, high = _kernels(channels, wavelet, synthesis=False)
        # Not persistent: released state dicts contain no filters.
        self.register_buffer("low", low.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("high", high.to(torch.get_default_dtype()), persistent=False)

    def pad(self, x_NCHW: Tensor) -> Tensor:
        """Pad for the border mode; every stride-2 convolution of L taps on the result is aligned with the bands."""
        return _pad(x_NCHW, self.low.shape[-1], self.border)

    def low_band(self, x_NCHW: Tensor) -> Tensor:
        """Compute only the low band."""
        return F.conv2d(self.pad(x_NCHW), self.low.to(x_NCHW.dtype), stride=2, groups=self.channels)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        # The input decides the precision: a half network may have float32 layers.
        return _analyse(x_NCHW, self.low.to(x_NCHW.dtype), self.high.to(x_NCHW.dtype), self.border)


def _pad(x_NCHW: Tensor, taps: int, border: Border) -> Tensor:
    check_maps(x_NCHW, "the wavelet transform's input")
    before = after = taps - 2
    if border == "cropped":
        # In an export sizes are symbols.
        if not torch.compiler.is_exporting() and (x_NCHW.shape[2] % 2 or x_NCHW.shape[3] % 2):
            raise ImageError(
                f"height {x_NCHW.shape[2]} and width {x_NCHW.shape[3]}: the wavelet transform with border='cropped' "
                "halves both, so they must be even."
            )
        # Padding with 2s fewer samples drops the first s outputs of the zero-padded transform.
        before -= 2 * (before // 4)
        after -= before
        pads = (before, after, before, after)
    else:
        height, width = x_NCHW.shape[2:]
        pads = (before, after + width % 2, before, after + height % 2)
    return F.pad(x_NCHW, pads) if any(pads) else x_NCHW


def _analyse(x_NCHW: Tensor, low: Tensor, high: Tensor, border: Border) -> tuple[Tensor, Tensor]:
    padded, channels = _pad(x_NCHW, low.shape[-1], border), x_NCHW.shape[1]
    return F.conv2d(padded, low, stride=2, groups=channels), F.conv2d(padded, high, stride=2, groups=channels)


def _synthesise(low_NCHW: Tensor, high_N3CHW: Tensor, low: Tensor, high: Tensor) -> Tensor:
    channels, padding = low_NCHW.shape[1], low.shape[-1] - 2
    return F.conv_transpose2d(low_NCHW, low, stride=2, padding=padding, groups=channels) + F.conv_transpose2d(
        high_N3CHW, high, stride=2, padding=padding, groups=channels
    )


def dwt2d(x_NCHW: Tensor, wavelet: str = "haar", levels: int = 1) -> tuple[Tensor, list[Tensor]]:
    """Analyse a floating tensor (N, C, H, W) over ``levels`` levels with zero borders.

    Returns:
        The low band of the coarsest level (N, C, h, w) and the detail bands of every level, finest first, each
        (N, C, 3, h_l, w_l) in the order LH, HL, HH.

    Raises:
        ConfigError: Unknown wavelet, or fewer than one level.
        ImageError: Wrong number of dimensions or dtype.
    """
    if not isinstance(levels, int) or levels < 1:
        raise ConfigError(f"levels is {levels!r}: expected 1 or more.")
    check_maps(x_NCHW, "the image")
    channels = x_NCHW.shape[1]
    low, high = (k.to(x_NCHW) for k in _kernels(channels, wavelet, synthesis=False))
    details: list[Tensor] = []
    for _ in range(levels):
        x_NCHW, bands = _analyse(x_NCHW, low, high, "zero")
        details.append(bands.reshape(bands.shape[0], channels, 3, *bands.shape[2:]))
    return x_NCHW, details


def idwt2d(
    low_NCHW: Tensor, details: Sequence[Tensor], wavelet: str = "haar", size: tuple[int, int] | None = None
) -> Tensor:
    """Invert :func:`dwt2d`.

    Args:
        low_NCHW: The coarsest low band (N, C, h, w).
        details: The detail bands (N, C, 3, h_l, w_l), finest first.
        wavelet: The wavelet of the analysis.
        size: Height and width of the original. Needed only if one of them was odd: an odd size and the next even one
            have bands of the same size.

    Raises:
        ConfigError: Unknown wavelet.
        ImageError: Bands of different transforms, or a size that does not match them.
    """
    check_maps(low_NCHW, "the low band")
    channels = low_NCHW.shape[1]
    low, high = (k.to(low_NCHW) for k in _kernels(channels, wavelet, synthesis=True))
    x = low_NCHW
    for bands in reversed(details):
        (batch, _, height, width), (rows, columns) = x.shape, bands.shape[-2:]
        if (
            bands.shape != (batch, channels, 3, rows, columns)
            or height - rows not in (0, 1)
            or width - columns not in (0, 1)
        ):
            raise ImageError(
                f"detail bands are {tuple(bands.shape)}: expected {(batch, channels, 3, height, width)}, the size of "
                "the low band, or one row or column less where a finer level has an odd size."
            )
        # A finer level with an odd size leaves one row or column too many.
        x = x[..., :rows, :columns]
        x = _synthesise(x, bands.flatten(1, 2), low, high)
    if size is None:
        return x
    if any(full - side not in (0, 1) for full, side in zip(x.shape[2:], size, strict=True)):
        raise ImageError(f"size is {size}: expected {tuple(x.shape[2:])}, or one less where a side is odd.")
    return x[..., : size[0], : size[1]]
