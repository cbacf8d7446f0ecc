"""Fourier transforms for one size, whose matrices are made once: what a PyTorch user would do who serves LaMa in half.

In half precision LaMa transforms by matrix products (:mod:`wavepaint.ops.dft`) and makes the matrices in every forward:
some fifty small operations a transform, which can take longer than the products. Plans have them as constants, so that
PyTorch must not have to make them again either.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d


class _Kept(nn.Module):
    """A matrix of the last size, dtype and device that it was asked for.

    It is a buffer, which the compiler's CUDA graphs read where it lies; other tensors they would copy in every run.
    """

    matrix: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", None, persistent=False)
        self.size = 0

    def forward(self, size: int, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        kept = self.matrix
        if kept is None or self.size != size or kept.dtype != like.dtype or kept.device != like.device:
            kept = make()
            self.matrix, self.size = kept, size
        return kept


class KeptRealDFT2d(RealDFT2d):
    """:class:`RealDFT2d` that keeps its matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = _Kept(), _Kept()

    def row_matrix(self, x_NCHW: Tensor) -> Tensor:
        return self.rows(x_NCHW.shape[3], x_NCHW, lambda: RealDFT2d.row_matrix(self, x_NCHW))  # type: ignore[no-any-return]

    def column_matrix(self, x_NCHW: Tensor) -> Tensor:
        return self.columns(x_NCHW.shape[2], x_NCHW, lambda: RealDFT2d.column_matrix(self, x_NCHW))  # type: ignore[no-any-return]


class KeptInverseRealDFT2d(InverseRealDFT2d):
    """:class:`InverseRealDFT2d` that keeps its matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = _Kept(), _Kept()

    def row_matrix(self, spectrum_NCHW: Tensor, width: int) -> Tensor:
        def make() -> Tensor:
            return InverseRealDFT2d.row_matrix(self, spectrum_NCHW, width)

        return self.rows(width, spectrum_NCHW, make)  # type: ignore[no-any-return]

    def column_matrix(self, spectrum_NCHW: Tensor) -> Tensor:
        def make() -> Tensor:
            return InverseRealDFT2d.column_matrix(self, spectrum_NCHW)

        return self.columns(spectrum_NCHW.shape[2], spectrum_NCHW, make)  # type: ignore[no-any-return]


_KEPT: dict[type[nn.Module], type[nn.Module]] = {RealDFT2d: KeptRealDFT2d, InverseRealDFT2d: KeptInverseRealDFT2d}


def keep_matrices(network: nn.Module) -> int:
    """Let the transforms in a network keep their matrices from their first forward on; return how many there are.

    That forward must run eagerly and in the mode of all others: what inference mode makes no other mode takes, and what
    is made while a graph is captured lies in the graph's memory.
    """
    found = [(name, layer) for name, layer in network.named_modules() if type(layer) in _KEPT]
    for name, layer in found:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, _KEPT[type(layer)]())
    return len(found)


def fill_matrices(network: nn.Module, side: int, device: str) -> None:
    """Run a network that keeps matrices once, eagerly and in inference mode, on one image of a height and width."""
    with torch.inference_mode():
        network(torch.zeros(1, 3, side, side, device=device), torch.zeros(1, 1, side, side, device=device))
    if device == "cuda":
        torch.cuda.synchronize()  # lanes have streams of their own
