"""The two-dimensional Fourier transform of real feature maps, as an FFT or as exact matrix products.

Only PyTorch runs LaMa's FFT: TensorRT has no counterpart of ONNX's DFT node, and no engine takes complex numbers. The
discrete Fourier transform is linear and separable: along the width it is a real product with (W, W // 2 + 1) cosines
and sines, along the height a complex one. This is exact at every size, odd ones included. It takes about
3 H W (H + W) / 2 multiplications a channel, more than an FFT; at LaMa's feature sizes (an eighth of the image) that is
a few hundredths of the cost of its convolutions.

The matrices depend only on the size. An export computes them in the graph, from the shape, with ``Range``, ``Mod``,
``Cos`` and ``Sin``, once for all layers, so that one file takes every size.

Coefficients are real numbers: channel 2c contains the real part of channel c, channel 2c + 1 the imaginary part. Both
directions are scaled by 1 / sqrt(H W) ("ortho"). Each product applies its part of the scale, which keeps values small
enough for half precision.

Source: LaMa (arXiv 2109.07161, section 2.1), whose order of coefficients this is; L. Chi et al., "Fast Fourier
Convolution" (NeurIPS 2020).
"""

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from wavepaint.errors import ImageError
from wavepaint.ops.maps import check_maps, number_side

_matrices: ContextVar[dict[Hashable, Tensor] | None] = ContextVar("_matrices", default=None)


@contextlib.contextmanager
def share_matrices() -> Iterator[None]:
    """Inside this context, compute each matrix once and use it in all transforms of the same size.

    An export traces a matrix each time it is computed: 144 times for LaMa with 18 blocks.
    """
    token = _matrices.set({})
    try:
        yield
    finally:
        _matrices.reset(token)


def _share(key: tuple[Hashable, ...], make: Callable[[], Tensor]) -> Tensor:
    matrices = _matrices.get()
    if matrices is None:
        return make()
    if key not in matrices:
        matrices[key] = make()
    return matrices[key]


def _uses_fft(x: Tensor) -> bool:
    """Return whether to run the FFT: not in an export, and not in half precision, which the CPU's FFT lacks.

    Under autocast a half tensor is transformed in float32, as other sums are.
    """
    if torch.compiler.is_exporting():
        return False
    return x.dtype in (torch.float32, torch.float64) or torch.is_autocast_enabled(x.device.type)


def _angles(rows: Tensor, columns: Tensor, size_1: Tensor, like: Tensor) -> Tensor:
    """Return 2 pi r c / size for every row r and column c, in float32, or float64 if ``like`` is.

    The product r c is reduced modulo the size as an integer, because float32 has too few digits for large angles.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return (rows[:, None] * columns % size_1).to(dtype) * (2 * math.pi) / size_1.to(dtype)


def _width_matrices(like_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return scaled cosines and sines (W, W // 2 + 1), and weights (W // 2 + 1,) of the columns for the inverse."""
    numbers = number_side(like_NCHW, 3)
    size_1 = numbers[-1:] + 1
    doubled = torch.cat([numbers, size_1])[::2]  # twice the number of each column: 0, 2, ..., 2 (W // 2)
    angles = _angles(numbers, doubled // 2, size_1, like_NCHW)
    scale = size_1.to(angles.dtype).rsqrt()
    # Every column except the first and, at even widths, the last also stands for its conjugate.
    weights = 2 - (doubled % size_1 == 0).to(angles.dtype)
    return angles.cos() * scale, angles.sin() * scale, weights


def _height_matrix(like_NCHW: Tensor) -> Tensor:
    """Return the scaled complex transform of a column as a real matrix (2H, 2H): real parts first, then imaginary."""

    def make() -> Tensor:
        numbers = number_side(like_NCHW, 2)
        size_1 = numbers[-1:] + 1
        angles = _angles(numbers, numbers, size_1, like_NCHW)
        scale = size_1.to(angles.dtype).rsqrt()
        cosines, sines = angles.cos() * scale, angles.sin() * scale
        real, imaginary = torch.cat([cosines, sines], dim=1), torch.cat([-sines, cosines], dim=1)
        return torch.cat([real, imaginary]).to(like_NCHW.dtype)

    return _share(("columns", str(like_NCHW.shape[2]), like_NCHW.dtype), make)


def _row_matrix(x_NCHW: Tensor) -> Tensor:
    """Return the factor along the width, (W, 2 (W // 2 + 1)) in the maps' dtype; real parts come first."""

    def make() -> Tensor:
        cosines, sines, _ = _width_matrices(x_NCHW)
        return torch.cat([cosines, -sines], dim=1).to(x_NCHW.dtype)

    return _share(("rows", str(x_NCHW.shape[3]), x_NCHW.dtype), make)


def _inverse_row_matrix(like_NCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the factor (W, 2 (W // 2 + 1)) in a dtype; its transpose is the inverse along the width."""

    def make() -> Tensor:
        cosines, sines, weights = _width_matrices(like_NCHW)
        return torch.cat([cosines * weights, -sines * weights], dim=1).to(dtype)

    return _share(("inverse rows", str(like_NCHW.shape[3]), dtype), make)


class RealDFT2d(nn.Module):
    """The transform of real, floating maps (N, C, H, W) into coefficients (N, 2C, H, W // 2 + 1) of the same dtype.

    Every forward computes both matrices, unless :func:`share_matrices` shares them.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        check_maps(x_NCHW, "the Fourier transform's input")
        if _uses_fft(x_NCHW):
            x_NCHW = x_NCHW.float() if x_NCHW.dtype != torch.float64 else x_NCHW
            spectrum = torch.fft.rfft2(x_NCHW, norm="ortho")
            return torch.stack([spectrum.real, spectrum.imag], dim=2).flatten(1, 2)
        channels = x_NCHW.shape[1]
        rows = torch.unflatten(x_NCHW @ _row_matrix(x_NCHW), 3, (2, -1))
        # Stack real and imaginary parts, with all channels side by side, so that the transform along the height is a
        # single product.
        columns = _height_matrix(x_NCHW) @ rows.permute(0, 3, 2, 1, 4).flatten(3).flatten(1, 2)
        columns = torch.unflatten(torch.unflatten(columns, 1, (2, -1)), 3, (channels, -1))
        return columns.permute(0, 3, 1, 2, 4).flatten(1, 2)


class InverseRealDFT2d(nn.Module):
    """The inverse of :class:`RealDFT2d`: coefficients (N, 2C, H, W // 2 + 1) -> maps (N, C, H, W).

    The width W is that of a second argument, maps (N, any, H, W). Coefficients that belong to no real map are treated
    as in ``torch.fft.irfft2``: missing columns are taken as conjugates of the others, and imaginary parts of the result
    are dropped.
    """

    def forward(self, spectrum_NCHW: Tensor, like_NCHW: Tensor) -> Tensor:
        check_maps(spectrum_NCHW, "the spectrum")
        _, channels, height, half = spectrum_NCHW.shape
        width = like_NCHW.shape[3]
        # In an export sizes may be symbols.
        if channels % 2 or (not torch.compiler.is_exporting() and half != width // 2 + 1):
            raise ImageError(
                f"the spectrum has {channels} channels and {half} columns: expected pairs of channels, and "
                f"{width // 2 + 1} columns for a width of {width}."
            )
        if _uses_fft(spectrum_NCHW):
            parts = spectrum_NCHW.float() if spectrum_NCHW.dtype != torch.float64 else spectrum_NCHW
            parts = torch.unflatten(parts, 1, (channels // 2, 2))
            spectrum = torch.complex(parts[:, :, 0], parts[:, :, 1])
            inverse: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
            return inverse
        columns = torch.unflatten(spectrum_NCHW, 1, (channels // 2, 2)).permute(0, 2, 3, 1, 4)
        # The inverse of an orthogonal matrix is its transpose.
        columns = _height_matrix(spectrum_NCHW).mT @ columns.flatten(3).flatten(1, 2)
        rows = torch.unflatten(torch.unflatten(columns, 1, (2, -1)), 3, (channels // 2, -1)).permute(0, 3, 2, 1, 4)
        maps: Tensor = rows.flatten(3) @ _inverse_row_matrix(like_NCHW, spectrum_NCHW.dtype).mT
        return maps
