"""Contrast-limited adaptive histogram equalization (CLAHE) of photos, without OpenCV.

Source: K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization" (Graphics Gems IV, 1994), as in OpenCV's
``createCLAHE``, whose results :func:`equalize_tiles` equals.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NUM_TILES = 8
"""Tiles along each side, as in LaMa."""
MAX_CLIP = 4.0
"""LaMa draws the clip limit from 1 to 4."""
_LEVELS = 256


def raise_local_contrast(photo: Image.Image, clip: float) -> Image.Image:
    """Equalize the luma of an RGB photo tile by tile. LaMa does so with the lightness of CIELAB.

    Args:
        photo: RGB.
        clip: Largest count in a tile's histogram, as a multiple of its mean. Larger values give more contrast.
    """
    luma, blue, red = photo.convert("YCbCr").split()
    equalized = Image.fromarray(equalize_tiles(np.asarray(luma), clip))
    return Image.merge("YCbCr", (equalized, blue, red)).convert("RGB")


def equalize_tiles(levels_HW: NDArray[np.uint8], clip: float) -> NDArray[np.uint8]:
    """Equalize the histogram of each of 8x8 tiles, and interpolate between the tiles: (H, W) -> (H, W)."""
    height, width = levels_HW.shape
    # OpenCV extends both sides if one of them is no multiple of 8, and then one that is by a whole 8.
    extends = bool(height % NUM_TILES or width % NUM_TILES)
    pads = [(0, NUM_TILES - side % NUM_TILES if extends else 0) for side in (height, width)]
    padded = np.pad(levels_HW, pads, mode="reflect")
    rows, columns = (side // NUM_TILES for side in padded.shape)
    tiles = padded.reshape(NUM_TILES, rows, NUM_TILES, columns).swapaxes(1, 2).reshape(NUM_TILES**2, -1)
    tables = _make_tables(tiles, clip).reshape(NUM_TILES, NUM_TILES, _LEVELS)
    first_y, second_y, share_y = _find_neighbours(height, rows)
    first_x, second_x, share_x = _find_neighbours(width, columns)
    share_y, first_y, second_y = share_y[:, None], first_y[:, None], second_y[:, None]
    upper = tables[first_y, first_x, levels_HW] * (1 - share_x) + tables[first_y, second_x, levels_HW] * share_x
    lower = tables[second_y, first_x, levels_HW] * (1 - share_x) + tables[second_y, second_x, levels_HW] * share_x
    return np.rint(upper * (1 - share_y) + lower * share_y).astype(np.uint8)


def _make_tables(tiles: NDArray[np.uint8], clip: float) -> NDArray[np.float32]:
    """Return the new level of every old one in each tile: (tiles, pixels) -> (tiles, 256)."""
    number, area = tiles.shape
    places = tiles + _LEVELS * np.arange(number)[:, None]
    counts = np.bincount(places.ravel(), minlength=number * _LEVELS).reshape(number, _LEVELS)
    limit = max(int(clip * area / _LEVELS), 1)
    for row in counts:
        share, rest = divmod(int(np.maximum(row - limit, 0).sum()), _LEVELS)
        np.minimum(row, limit, out=row)
        row += share
        if rest:
            step = max(_LEVELS // rest, 1)
            row[: min(rest * step, _LEVELS) : step] += 1
    scale = np.float32((_LEVELS - 1) / area)
    sums: NDArray[np.float32] = counts.cumsum(axis=1).astype(np.float32)
    levels: NDArray[np.float32] = np.minimum(np.rint(sums * scale), np.float32(_LEVELS - 1))
    return levels


def _find_neighbours(length: int, tile: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the tiles before and after each pixel, seen from the tiles' centres, and the share of the second."""
    places = np.arange(length, dtype=np.float32) * np.float32(1 / tile) - np.float32(0.5)
    before = np.floor(places)
    first = before.astype(np.int64)
    return np.maximum(first, 0), np.minimum(first + 1, NUM_TILES - 1), places - before
