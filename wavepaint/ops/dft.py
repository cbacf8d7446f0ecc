"""The two-dimensional Fourier transform of real feature maps, as an FFT or as exact matrix products.

No engine but PyTorch runs LaMa's FFT: ONNX has a DFT node that TensorRT does not know, and complex numbers none of them
does. The discrete Fourier transform is a linear map, though, and separable: along the width a real product with
(W, W // 2 + 1) cosines and sines, along the height a complex one. That is exact at any size, odd ones as well, and
needs about 3 H W (H + W) / 2 multiplications a channel instead of an FFT's, which at LaMa's feature sizes (an eighth
of the image) is a few hundredths of what its convolutions need.

The matrices depend on the size alone. An export computes them in the graph, from the shape, by ``Range``, ``Mod``,
``Cos`` and ``Sin``, once for all layers: so one file takes every size.

Coefficients are real numbers: channel 2c holds the real part of channel c and 2c + 1 the imaginary one. Both
directions are scaled by 1 / sqrt(H W) ("ortho"), of which each product takes its share, so that values stay small
enough for half precision.

Sources: J. Cooley and J. Tukey (1965) for what is not used here; the order of coefficients is that of the authors of
LaMa (arXiv 2109.07161, section 2.1; L. Chi et al., "Fast Fourier Convolution", NeurIPS 2020).
"""

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from wavepaint.errors import ImageError
from wavepaint.ops.maps import check_maps

_shared: ContextVar[dict[Hashable, Tensor] | None] = ContextVar("_shared", default=None)


@contextlib.contextmanager
def share_matrices() -> Iterator[None]:
    """Make each matrix only once while the context is open, for all transforms of one size.

    An export traces a matrix once for each time it is made: LaMa of 18 blocks makes 144.
    """
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def _make_once(key: tuple[Hashable, ...], make: Callable[[], Tensor]) -> Tensor:
    matrices = _shared.get()
    if matrices is None:
        return make()
    if key not in matrices:
        matrices[key] = make()
    return matrices[key]


def _takes_fft(x: Tensor) -> bool:
    """Say whether to run the FFT: not in an export, and not on half precision, which no CPU's FFT takes.

    Under autocast a half tensor is transformed in float32, as autocast does with other sums.
    """
    if torch.compiler.is_exporting():
        return False
    return x.dtype in (torch.float32, torch.float64) or torch.is_autocast_enabled(x.device.type)


def _angles(rows: int, columns: int, size: int, like: Tensor) -> Tensor:
    """Return 2 pi r c / size for every row r and column c, in float32, or float64 if ``like`` is.

    The product is taken modulo the size as a whole number: of a large angle float32 would keep too few digits.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    size_1 = torch.full((1,), size, dtype=torch.int64, device=like.device)  # a tensor, since exports divide by it
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

    return _make_once(("columns", str(height), like.dtype), make)


class RealDFT2d(nn.Module):
    """The transform of real maps (N, C, H, W), floating: coefficients (N, 2C, H, W // 2 + 1), of the same dtype.

    Both matrices are made in every forward. Who transforms one size alone may override what makes them.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        check_maps(x_NCHW, "what is transformed")
        if _takes_fft(x_NCHW):
            x_NCHW = x_NCHW.float() if x_NCHW.dtype != torch.float64 else x_NCHW
            spectrum = torch.fft.rfft2(x_NCHW, norm="ortho")
            return torch.stack([spectrum.real, spectrum.imag], dim=2).flatten(1, 2)
        batch, channels, height, width = x_NCHW.shape
        half = width // 2 + 1
        rows = x_NCHW @ self.row_matrix(x_NCHW)
        # Real and imaginary parts above one another, and all channels side by side, so that the transform along the
        # height is one product.
        columns = rows.reshape(batch, channels, height, 2, half).permute(0, 3, 2, 1, 4)
        columns = self.column_matrix(x_NCHW) @ columns.reshape(batch, 2 * height, channels * half)
        spectrum = columns.reshape(batch, 2, height, channels, half).permute(0, 3, 1, 2, 4)
        return spectrum.reshape(batch, 2 * channels, height, half)

    def row_matrix(self, x_NCHW: Tensor) -> Tensor:
        """Return what maps are multiplied by along the width, (W, 2 (W // 2 + 1)) of their dtype: real parts first."""
        width = x_NCHW.shape[3]

        def make() -> Tensor:
            cosines, sines = _width_matrices(width, x_NCHW)
            return torch.cat([cosines, -sines], dim=1).to(x_NCHW.dtype)

        return _make_once(("rows", str(width), x_NCHW.dtype), make)

    def column_matrix(self, x_NCHW: Tensor) -> Tensor:
        """Return what multiplies them along the height, (2H, 2H) of their dtype: real parts first."""
        return _height_matrix(x_NCHW.shape[2], x_NCHW)


class InverseRealDFT2d(nn.Module):
    """The inverse of :class:`RealDFT2d`: coefficients (N, 2C, H, W // 2 + 1) and the width W -> maps (N, C, H, W).

    Coefficients that no real map has are treated as ``torch.fft.irfft2`` treats them: the columns that are missing
    count as conjugates of those that are there, and what would be imaginary is dropped. As there, matrices are made in
    every forward.
    """

    def forward(self, spectrum_NCHW: Tensor, width: int) -> Tensor:
        check_maps(spectrum_NCHW, "the spectrum")
        batch, channels, height, half = spectrum_NCHW.shape
        # Sizes are symbols in an export.
        if channels % 2 or (not torch.compiler.is_exporting() and half != width // 2 + 1):
            raise ImageError(
                f"the spectrum has {channels} channels and {half} columns: expected pairs of channels, and "
                f"{width // 2 + 1} columns for a width of {width}."
            )
        channels //= 2
        if _takes_fft(spectrum_NCHW):
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
        """Return the matrix (W, 2 (W // 2 + 1)), in the coefficients' dtype, whose transpose gives maps of a width."""
        half = spectrum_NCHW.shape[3]

        def make() -> Tensor:
            cosines, sines = _width_matrices(width, spectrum_NCHW)
            # Every column but the first and, at even widths, the last stands for its conjugate as well.
            doubled = torch.arange(half, device=cosines.device) * 2
            alone = doubled % torch.full((1,), width, dtype=torch.int64, device=cosines.device) == 0
            weights = 2 - alone.to(cosines.dtype)
            return torch.cat([cosines * weights, -sines * weights], dim=1).to(spectrum_NCHW.dtype)

        return _make_once(("inverse rows", str(width), str(half), spectrum_NCHW.dtype), make)

    def column_matrix(self, spectrum_NCHW: Tensor) -> Tensor:
        """Return the matrix of :meth:`RealDFT2d.column_matrix`, whose transpose is applied along the height."""
        return _height_matrix(spectrum_NCHW.shape[2], spectrum_NCHW)
