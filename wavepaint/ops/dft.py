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
from wavepaint.ops.maps import check_maps

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


def _angles(rows: int, columns: int, size: int, like: Tensor) -> Tensor:
    """Return 2 pi r c / size for every row r and column c, in float32, or float64 if ``like`` is.

    The product r c is reduced modulo the size as an integer, because float32 has too few digits for large angles.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    size_1 = torch.full((1,), size, dtype=torch.int64, device=like.device)  # a tensor, because exports divide by it
    product = torch.arange(rows, device=like.device)[:, None] * torch.arange(columns, device=like.device)
    return (product % size_1).to(dtype) * (2 * math.pi) / size_1.to(dtype)


def _scale(angles: Tensor, size: int) -> Tensor:
    return torch.full((1,), size, dtype=angles.dtype, device=angles.device).rsqrt()


def _width_matrices(width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return scaled cosines and sines (W, W // 2 + 1)."""
    angles = _angles(width, width // 2 + 1, width, like)
    scale = _scale(angles, width)
    return angles.cos() * scale, angles.sin() * scale


def _height_matrix(height: int, like: Tensor) -> Tensor:
    """Return the scaled complex transform of a column as a real matrix (2H, 2H): real parts first, then imaginary."""

    def make() -> Tensor:
        angles = _angles(height, height, height, like)
        scale = _scale(angles, height)
        cosines, sines = angles.cos() * scale, angles.sin() * scale
        real, imaginary = torch.cat([cosines, sines], dim=1), torch.cat([-sines, cosines], dim=1)
        return torch.cat([real, imaginary]).to(like.dtype)

    return _share(("columns", str(height), like.dtype), make)


class RealDFT2d(nn.Module):
    """The transform of real, floating maps (N, C, H, W) into coefficients (N, 2C, H, W // 2 + 1) of the same dtype.

    Every forward computes both matrices. Subclasses for a single size may override the methods that compute them.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        check_maps(x_NCHW, "the Fourier transform's input")
        if _uses_fft(x_NCHW):
            x_NCHW = x_NCHW.float() if x_NCHW.dtype != torch.float64 else x_NCHW
            spectrum = torch.fft.rfft2(x_NCHW, norm="ortho")
            return torch.stack([spectrum.real, spectrum.imag], dim=2).flatten(1, 2)
        batch, channels, height, width = x_NCHW.shape
        half = width // 2 + 1
        rows = x_NCHW @ self.row_matrix(x_NCHW)
        # Stack real and imaginary parts, with all channels side by side, so that the transform along the height is a
        # single product.
        columns = rows.reshape(batch, channels, height, 2, half).permute(0, 3, 2, 1, 4)
        columns = self.column_matrix(x_NCHW) @ columns.reshape(batch, 2 * height, channels * half)
        spectrum = columns.reshape(batch, 2, height, channels, half).permute(0, 3, 1, 2, 4)
        return spectrum.reshape(batch, 2 * channels, height, half)

    def row_matrix(self, x_NCHW: Tensor) -> Tensor:
        """Return the factor along the width, (W, 2 (W // 2 + 1)) in the maps' dtype; real parts come first."""
        width = x_NCHW.shape[3]

        def make() -> Tensor:
            cosines, sines = _width_matrices(width, x_NCHW)
            return torch.cat([cosines, -sines], dim=1).to(x_NCHW.dtype)

        return _share(("rows", str(width), x_NCHW.dtype), make)

    def column_matrix(self, x_NCHW: Tensor) -> Tensor:
        """Return the factor along the height, (2H, 2H) in the maps' dtype; real parts come first."""
        return _height_matrix(x_NCHW.shape[2], x_NCHW)


class InverseRealDFT2d(nn.Module):
    """The inverse of :class:`RealDFT2d`: coefficients (N, 2C, H, W // 2 + 1) and the width W -> maps (N, C, H, W).

    Coefficients that belong to no real map are treated as in ``torch.fft.irfft2``: missing columns are taken as
    conjugates of the others, and imaginary parts of the result are dropped.
    """

    def forward(self, spectrum_NCHW: Tensor, width: int) -> Tensor:
        check_maps(spectrum_NCHW, "the spectrum")
        batch, channels, height, half = spectrum_NCHW.shape
        # In an export sizes are symbols.
        if channels % 2 or (not torch.compiler.is_exporting() and half != width // 2 + 1):
            raise ImageError(
                f"the spectrum has {channels} channels and {half} columns: expected pairs of channels, and "
                f"{width // 2 + 1} columns for a width of {width}."
            )
        channels //= 2
        if _uses_fft(spectrum_NCHW):
            parts = spectrum_NCHW.float() if spectrum_NCHW.dtype != torch.float64 else spectrum_NCHW
            parts = parts.reshape(batch, channels, 2, height, half)
            spectrum = torch.complex(parts[:, :, 0], parts[:, :, 1])
            inverse: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
            return inverse
        columns = spectrum_NCHW.reshape(batch, channels, 2, height, half).permute(0, 2, 3, 1, 4)
        # The inverse of an orthogonal matrix is its transpose.
        columns = self.column_matrix(spectrum_NCHW).mT @ columns.reshape(batch, 2 * height, channels * half)
        rows = columns.reshape(batch, 2, height, channels, half).permute(0, 3, 2, 1, 4)
        matrix = self.row_matrix(spectrum_NCHW, width)
        maps: Tensor = rows.reshape(batch, channels, height, 2 * half) @ matrix.mT
        return maps

    def row_matrix(self, spectrum_NCHW: Tensor, width: int) -> Tensor:
        """Return the factor (W, 2 (W // 2 + 1)) whose transpose is applied along the width, in the spectrum's dtype."""
        half = spectrum_NCHW.shape[3]

        def make() -> Tensor:
            cosines, sines = _width_matrices(width, spectrum_NCHW)
            # Every column except the first and, at even widths, the last also stands for its conjugate.
            doubled = torch.arange(half, device=cosines.device) * 2
            single = doubled % torch.full((1,), width, dtype=torch.int64, device=cosines.device) == 0
            weights = 2 - single.to(cosines.dtype)
            return torch.cat([cosines * weights, -sines * weights], dim=1).to(spectrum_NCHW.dtype)

        return _share(("inverse rows", str(width), str(half), spectrum_NCHW.dtype), make)

    def column_matrix(self, spectrum_NCHW: Tensor) -> Tensor:
        """Return the factor whose transpose is applied along the height: that of :meth:`RealDFT2d.column_matrix`."""
        return _height_matrix(spectrum_NCHW.shape[2], spectrum_NCHW)
