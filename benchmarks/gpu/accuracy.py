"""Whether an output is what PyTorch computes in float32: inside the hole in numbers, outside bit for bit."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from wavepaint.contract import IoDtype
from wavepaint.export.cases import VERIFICATION_PHOTOS
from wavepaint.runtime.engines.session import make_batch

Tensor = NDArray[Any]

MIN_PSNR_DB = 50.0
"""Inside the hole against PyTorch float32: the criterion, and what a bundle in half precision holds."""

NUM_COMPARED = 3
"""Images of a batch that are compared in numbers. All are looked through outside the hole, and for NaN and infinity."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What a comparison came to.

    Attributes:
        psnr_hole_db: Inside the hole, for a peak of 1; 200 for equal values.
        snr_hole_db: The same, over the variance of the reference there: random networks fill holes with less contrast
            than a photograph has, and so have a high PSNR cheaply.
        max_error: Largest difference on values in [0, 1].
        num_not_finite: Values that are NaN or infinite.
        known_identical: Whether nothing outside the hole was changed.
        passed: Whether all of it is as it must be.
    """

    psnr_hole_db: float | None
    snr_hole_db: float | None
    max_error: float | None
    num_not_finite: int
    known_identical: bool
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def make_inputs(batch: int, side: int, io_dtype: IoDtype) -> tuple[Tensor, Tensor]:
    """Return a batch: noise, of which the first and the last image are photographs; a box hole in the middle."""
    image, mask = make_batch(batch, side, side)
    photos = [path for path in sorted(VERIFICATION_PHOTOS.glob("*.jpg")) if path.is_file()]
    for index, path in zip((0, batch - 1), photos, strict=False):
        with Image.open(path) as photo:
            pixels = np.asarray(photo.convert("RGB").resize((side, side)), np.float32) / np.float32(255)
        image[index] = pixels.transpose(2, 0, 1)
    if io_dtype == "float32":
        return image, mask
    levels = np.rint(image * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(levels), np.ascontiguousarray((mask * 255).astype(np.uint8).transpose(0, 2, 3, 1))


def to_floats(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return a batch of either kind of edges with float32 ones."""
    if image.dtype == np.float32:
        return image, mask
    floats = image.astype(np.float32) / np.float32(255), (mask >= 128).astype(np.float32)
    return floats[0].transpose(0, 3, 1, 2), floats[1].transpose(0, 3, 1, 2)


def run_reference(network: nn.Module, device: str, image: Tensor, mask: Tensor) -> Tensor:
    """Return what a network gives in float32 for the images that are compared, clamped to the contract's range."""
    floats = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in to_floats(*pick(image, mask)))
    with torch.inference_mode():
        expected: Tensor = network(*floats).clamp(0, 1).cpu().numpy()
    return expected


def pick(*tensors: Tensor) -> list[Tensor]:
    """Return the images of a batch that are compared: the first ones and the last."""
    chosen = sorted({*range(min(len(tensors[0]), NUM_COMPARED - 1)), len(tensors[0]) - 1})
    return [tensor[chosen] for tensor in tensors]


def compare(output: Tensor, expected: Tensor, image: Tensor, mask: Tensor, least_db: float = MIN_PSNR_DB) -> Accuracy:
    """Compare an output.

    Args:
        output: Of the whole batch, as the edges have it.
        expected: What :func:`run_reference` returned.
        image: The batch.
        mask: Its holes.
        least_db: PSNR inside the hole that must be reached.
    """
    is_hole = np.broadcast_to(mask > 0, image.shape)
    fits = output.shape == image.shape and output.dtype == image.dtype
    num_not_finite = int(output.size - np.isfinite(output).sum())
    known = fits and bool(np.array_equal(output[~is_hole], image[~is_hole]))
    if not fits or num_not_finite:
        return Accuracy(
            psnr_hole_db=None, snr_hole_db=None, max_error=None, num_not_finite=num_not_finite, known_identical=known,
            passed=False,
        )  # fmt: skip
    compared, hole = to_floats(*pick(output, mask))
    inside = np.broadcast_to(hole > 0, compared.shape)
    error = compared.astype(np.float64)[inside] - expected[inside]
    mean = float(np.mean(error**2))
    psnr = _decibels(1.0, mean)
    return Accuracy(
        psnr_hole_db=psnr,
        snr_hole_db=_decibels(float(np.var(expected[inside], dtype=np.float64)), mean),
        max_error=float(np.abs(error).max(initial=0.0)),
        num_not_finite=0,
        known_identical=known,
        passed=known and psnr >= least_db,
    )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return 200.0
    return 10 * math.log10(signal / noise) if signal > 0 else -200.0
