"""Random crops of photos with LaMa's augmentation: scale, flip, shape, local contrast, colour.

LaMa's training (R. Suvorov et al., arXiv 2109.07161, and ``saicinpainting/training/data/datasets.py`` of
advimman/lama@786f593) scales, crops and flips, moves corners by up to 2% or 6% of the side, rotates by up to 40 degrees
and shears by up to 0.1 degrees, bends the image as a lens does, equalizes the histogram of tiles, and shifts brightness
and contrast by up to 20%, saturation by up to 12% and hue by up to 10 degrees.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wavepaint.data.local_contrast import MAX_CLIP, raise_local_contrast
from wavepaint.errors import ConfigError

# Ratios of LaMa's limits to its limit of brightness.
SATURATION_SHARE = 0.6
HUE_RADIANS_SHARE = math.radians(50)

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
"""RGB to luma and two colour differences (NTSC, FCC 1953)."""
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
"""Corners of a square, clockwise from the upper left one."""
_INWARDS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
_BENT_CELLS = 16
"""Cells along each side in which a bent crop is bilinear."""


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
        rotation: Largest rotation in degrees, either way, of half of the crops. LaMa uses 40. What lies outside the
            photo is its mirror image.
        shear: Largest shear in degrees of the crops that may be rotated. LaMa uses 0.1.
        lens: Largest coefficient of the radial distortion of half of the crops. LaMa uses 0.05, which moves a corner
            by 1.9% of the side.
        local_contrast: Share of crops whose local contrast is raised. LaMa uses 0.5.
    """

    crop_size: int
    min_scale: float
    max_scale: float
    flip: bool = True
    colour: float = 0.0
    perspective: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    lens: float = 0.0
    local_contrast: float = 0.0

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
        if not 0 <= self.rotation <= 180:
            raise ConfigError(f"--rotation is {self.rotation}: expected 0 (none) to 180 degrees; LaMa's is 40.")
        if not 0 <= self.shear <= 45:
            raise ConfigError(f"--shear is {self.shear}: expected 0 (none) to 45 degrees; LaMa's is 0.1.")
        if not 0 <= self.lens <= 0.5:
            raise ConfigError(f"--lens is {self.lens}: expected 0 (none) to 0.5; LaMa's is 0.05.")
        if not 0 <= self.local_contrast <= 1:
            raise ConfigError(f"--local-contrast is {self.local_contrast}: expected a share of crops from 0 to 1.")


Resampling = Image.Resampling


def augment(photo: Image.Image, settings: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale, crop and flip a photo, and optionally change its shape and colours.

    A photo smaller than the crop is enlarged. Changes that are off draw no random numbers, so that earlier runs can be
    repeated.

    Args:
        photo: RGB, of any size.
        settings: The augmentation.
        rng: Source of random numbers.

    Returns:
        The crop, (S, S, 3).
    """
    return _augment((photo,), settings, rng)[0]


def augment_labelled(
    photo: Image.Image, labels: Image.Image, settings: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Augment a photo as :func:`augment` does, and its label map with the same change of shape.

    Args:
        photo: RGB, of any size.
        labels: 8-bit grey, of the photo's size. Its values are never mixed: every new pixel takes its nearest one.
        settings: The augmentation.
        rng: Source of random numbers.

    Returns:
        The crops, (S, S, 3) and (S, S).
    """
    crop, label_crop = _augment((photo, labels), settings, rng)
    return crop, label_crop


def _augment(
    images: tuple[Image.Image, ...], settings: Augmentation, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Augment a photo, and change the shape of its label map, if there is one, in the same way."""
    photo = images[0]
    size = settings.crop_size
    low = max(settings.min_scale, size / min(photo.size))
    scale = low if low >= settings.max_scale else float(np.exp(rng.uniform(np.log(low), np.log(settings.max_scale))))
    side = min(size / scale, *photo.size)
    left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    square = np.array([left, top]) + side * _UNIT
    corners = square
    if settings.perspective:
        # Corners never move outwards, where the photo may end.
        corners = corners + _INWARDS * rng.uniform(0, settings.perspective * side, (4, 2))
    if (settings.rotation or settings.shear) and rng.random() < 0.5:
        corners = _turn(corners, rng.uniform(-settings.rotation, settings.rotation), rng, settings.shear)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        box = (math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))
        crops = [_crop_quadrilateral(image, corners, box, side / size, size) for image in images]
    elif settings.perspective:
        box = (
            math.floor(left),
            math.floor(top),
            min(math.ceil(left + side), photo.width),
            min(math.ceil(top + side), photo.height),
        )
        crops = [_crop_quadrilateral(image, corners, box, side / size, size) for image in images]
    else:
        square_box = (left, top, left + side, top + side)
        crops = [image.resize((size, size), _choose_filter(image), box=square_box) for image in images]
    if settings.lens and rng.random() < 0.5:
        strength = rng.uniform(-settings.lens, settings.lens)
        crops = [_bend(crop, strength) for crop in crops]
    mirror = rng.random() < 0.5 if settings.flip else False
    if settings.local_contrast and rng.random() < settings.local_contrast:
        crops[0] = raise_local_contrast(crops[0], rng.uniform(1, MAX_CLIP))
    if settings.colour:
        crops[0] = _change_colours(crops[0], settings.colour, rng)
    arrays = [np.asarray(crop) for crop in crops]
    return [array[:, ::-1] if mirror else array for array in arrays]


def _choose_filter(image: Image.Image) -> Resampling:
    """Return the filter for a photo, or for a label map, which is grey."""
    return Resampling.NEAREST if image.mode == "L" else Resampling.BICUBIC


def _turn(
    corners: NDArray[np.float64], degrees: float, rng: np.random.Generator, max_shear: float
) -> NDArray[np.float64]:
    """Rotate the corners of a crop, and shear them along both axes by up to ``max_shear`` degrees."""
    angle = math.radians(degrees)
    shear_x, shear_y = np.tan(np.radians(rng.uniform(-max_shear, max_shear, 2)))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = corners.mean(axis=0)
    turned: NDArray[np.float64] = (corners - centre) @ (rotation @ [[1, shear_x], [shear_y, 1]]).T + centre
    return turned


def _crop_quadrilateral(
    photo: Image.Image, corners: NDArray[np.float64], box: tuple[int, int, int, int], scale: float, size: int
) -> Image.Image:
    """Map a quadrilateral of a photo to a square of ``size`` pixels.

    Args:
        photo: RGB, or a label map.
        corners: (4, 2) pixels, clockwise from the upper left one.
        box: A box around the corners: left, top, right, bottom.
        scale: Pixels of the photo in one of the crop, on each axis.
        size: Side of the crop.
    """
    # Pillow's transform reads 4x4 pixels at any scale. Averaging blocks of pixels first prevents aliasing; the
    # remaining factor is at most 1.5.
    factor = max(int(scale + 0.5), 1) if photo.mode == "RGB" else 1
    if box[0] < 0 or box[1] < 0 or box[2] > photo.width or box[3] > photo.height:
        region = _crop_beyond(photo, box)
        region = region.reduce(factor) if factor > 1 else region
    else:
        region = photo.reduce(factor, box) if factor > 1 else photo.crop(box)
    coefficients = _solve_perspective(size * _UNIT, (corners - box[:2]) / factor)
    return region.transform((size, size), Image.Transform.PERSPECTIVE, coefficients.tolist(), _choose_filter(photo))


def _crop_beyond(photo: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Crop a box that may leave the photo. Its mirror image continues it."""
    columns, rows = (
        _reflect(np.arange(start, end), length)
        for start, end, length in ((box[0], box[2], photo.width), (box[1], box[3], photo.height))
    )
    return Image.fromarray(np.asarray(photo)[rows[:, None], columns])


def _reflect(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Fold places into 0 to length - 1, without repeating the first and the last."""
    period = max(2 * length - 2, 1)
    folded: NDArray[np.int64] = np.minimum(places % period, period - places % period)
    return np.minimum(folded, length - 1)


def _bend(crop: Image.Image, strength: float) -> Image.Image:
    """Distort a square crop radially about its centre, as ``OpticalDistortion`` of albumentations does.

    A pixel at a distance r from the centre, as a share of the side, shows what was at r (1 + k r^2 + k r^4).
    """
    size = crop.width
    margin = math.ceil(abs(strength) * size)
    padded = _crop_beyond(crop, (-margin, -margin, size + margin, size + margin))
    lines = np.linspace(0, size, min(size, _BENT_CELLS) + 1).round().astype(int)
    x, y = np.meshgrid(lines / size - 0.5, lines / size - 0.5)
    squared = x**2 + y**2
    factor = 1 + strength * squared * (1 + squared)
    origins = np.stack([x * factor, y * factor], axis=-1) * size + size / 2 + margin
    mesh = []
    for row, (top, bottom) in enumerate(itertools.pairwise(lines.tolist())):
        for column, (left, right) in enumerate(itertools.pairwise(lines.tolist())):
            # Counter-clockwise from the upper left corner, as Pillow wants it.
            quad = [origins[row + i, column + j] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
            mesh.append(((left, top, right, bottom), tuple(np.concatenate(quad).tolist())))
    return padded.transform((size, size), Image.Transform.MESH, mesh, _choose_filter(crop))


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
