"""Random crops of photos with LaMa's augmentation: scale, flip, slight perspective, colour.

LaMa's training (R. Suvorov et al., arXiv 2109.07161, and its released configurations) scales, crops and flips, moves
corners by up to 2% or 6% of the side, and shifts brightness and contrast by up to 20%, saturation by up to 12% and hue
by up to 10 degrees. This module omits its rotation, shear and local contrast.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wavepaint.errors import ConfigError

# Ratios of LaMa's limits to its limit of brightness.
SATURATION_SHARE = 0.6
HUE_RADIANS_SHARE = math.radians(50)

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
"""RGB to luma and two colour differences (NTSC, FCC 1953)."""
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Settings of the augmentation.

    Attributes:
        crop_size: Side of the square crop in pixels.
        min_scale: Smallest factor by which a photo is scaled before it is cropped. The crop always fits.
        max_scale: Largest factor. Every octave between the two factors is equally likely.
        flip: Whether half of the crops are mirrored.
        colour: Largest relative change of brightness and contrast; those of saturation and hue are proportional. 0 is
            none; LaMa uses 0.2.
        perspective: Largest inward move of each corner on each axis, as a share of the side. 0 is none; LaMa uses
            about 0.02 and 0.06.
    """

    crop_size: int
    min_scale: float
    max_scale: float
    flip: bool = True
    colour: float = 0.0
    perspective: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_size < 1:
            raise ConfigError(f"--crop-size is {self.crop_size}: expected 1 or more.")
        if not 0 < self.min_scale < math.inf:
            raise ConfigError(f"--min-scale is {self.min_scale}: expected a number above 0.")
        if not self.min_scale <= self.max_scale < math.inf:
            raise ConfigError(f"--max-scale is {self.max_scale}: expected at least --min-scale ({self.min_scale}).")
        if not 0 <= self.colour < 1:
            raise ConfigError(f"--colour is {self.colour}: expected 0 (none) to below 1; LaMa's is 0.2.")
        if not 0 <= self.perspective <= 0.25:
            raise ConfigError(f"--perspective is {self.perspective}: expected 0 (none) to 0.25, a share of the side.")


def augment(photo: Image.Image, settings: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale, crop and flip a photo, and optionally change its perspective and colours.

    A photo smaller than the crop is enlarged. Perspective and colour draw no random numbers when they are off, so that
    earlier runs can be repeated.

    Args:
        photo: RGB, of any size.
        settings: The augmentation.
        rng: Source of random numbers.

    Returns:
        The crop, (S, S, 3).
    """
    size = settings.crop_size
    low = max(settings.min_scale, size / min(photo.size))
    scale = low if low >= settings.max_scale else float(np.exp(rng.uniform(np.log(low), np.log(settings.max_scale))))
    side = min(size / scale, *photo.size)
    left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    if settings.perspective:
        moves = rng.uniform(0, settings.perspective * side, (4, 2))
        crop = _crop_in_perspective(photo, left, top, side, moves, size)
    else:
        box = (left, top, left + side, top + side)
        crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=box)
    mirror = rng.random() < 0.5 if settings.flip else False
    if settings.colour:
        crop = _change_colours(crop, settings.colour, rng)
    array = np.asarray(crop)
    return array[:, ::-1] if mirror else array


def _crop_in_perspective(
    photo: Image.Image, left: float, top: float, side: float, moves: NDArray[np.float64], size: int
) -> Image.Image:
    """Crop a square with its corners moved inwards by ``moves``, (4, 2) pixels, and scale it to ``size``.

    Corners never move outwards, where the photo may end.
    """
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    corners = np.array([left, top]) + side * unit + inwards * moves
    # Pillow's transform reads 4x4 pixels at any scale. Averaging blocks of pixels first prevents aliasing; the
    # remaining factor is at most 1.5.
    factor = max(int(side / size + 0.5), 1)
    box = (
        math.floor(left),
        math.floor(top),
        min(math.ceil(left + side), photo.width),
        min(math.ceil(top + side), photo.height),
    )
    region = photo.reduce(factor, box) if factor > 1 else photo.crop(box)
    coefficients = _solve_perspective(size * unit, (corners - box[:2]) / factor)
    return region.transform((size, size), Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BICUBIC)


def _solve_perspective(targets: NDArray[np.float64], sources: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve x' = (ax + by + c) / (gx + hy + 1), y' = (dx + ey + f) / (gx + hy + 1) for (a, ..., h).

    Args:
        targets: (4, 2) points x, y.
        sources: (4, 2) points x', y'.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(targets, sources, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values))


def _change_colours(crop: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast, saturation and hue with one linear map.

    Contrast pivots on the mean luma of the crop. Hue rotates and saturation scales the plane of the colour
    differences, which preserves luma.
    """
    brightness, contrast = rng.uniform(1 - strength, 1 + strength, 2)
    saturation = rng.uniform(1 - SATURATION_SHARE * strength, 1 + SATURATION_SHARE * strength)
    angle = rng.uniform(-1, 1) * HUE_RADIANS_SHARE * strength
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = brightness * contrast * _FROM_YIQ @ turn @ _TO_YIQ
    mean_luma = float(np.asarray(crop).mean(axis=(0, 1)) @ _TO_YIQ[0])
    offset = brightness * (1 - contrast) * mean_luma
    return crop.convert("RGB", tuple(np.column_stack([matrix, np.full(3, offset)]).ravel().tolist()))
