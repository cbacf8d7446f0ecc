"""Find scratches and hairs: long thin lines that are brighter or darker than both of their sides.

1. Oriented line filters. The mean of a short line through a pixel is compared with the means of four parallel lines,
   two on each side. The contrast counts only as far as the line stands out from all four, less half of what the four
   differ among themselves, so that the edge of an object gives next to none.
2. Hysteresis. Neighbouring pixels whose lines have similar directions form segments. A segment is accepted if

       length x contrast >= limit x (clutter + 5) ^ 3,

   where the clutter is the 80th percentile of the local gradients. A short hair in the sky is enough; amid grass or
   masonry it takes a long and strong line. Weaker segments are accepted if they touch an accepted one.
3. Scales. Wide lines of large scans are found in the same way on smaller copies.

Form and constants were fitted to painted scratches on 19 photographs of 480 to 1280 pixels.
"""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.machine import count_cores
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.masking.components import Index, group_runs, label_runs, measure_extents

Polarity = Literal["bright", "dark", "both"]

_NUM_DIRECTIONS = 16
_LINE_DOUBLINGS = 4
"""The filter's lines have 2 ** 4 pixels."""

_FLANKS = (3, 6)
"""Distances in pixels from a line to those beside it."""

_REACH = 2**_LINE_DOUBLINGS + max(_FLANKS) + 2
_TILE = 512
_BLOCK = 32
"""Side in pixels of the blocks in which the clutter is measured."""

_WIDEST = 4
"""Widest line in pixels that is found without scaling down."""

_MIN_LENGTH = 30
_MIN_LINK = 12
"""Shortest segment, in pixels, that is accepted on its own, and that is added to an accepted one."""

_MAX_RATIO = 3.5
"""Largest ratio of area and length: what is thicker is not a line."""

_LIMIT = 0.22
_LINK_SHARE = 0.14
"""Share of the limit that suffices for a segment that touches an accepted one."""

_MIN_CONTRAST = 4.5
_CONTRAST_PER_CLUTTER = 0.2
"""A pixel belongs to a segment if its contrast, in grey levels, is the first and the second times the clutter."""


class _Candidates(NamedTuple):
    """Pixels that may belong to a scratch, in row-major order.

    Attributes:
        indices: (N,), row * stride + column.
        contrast: (N,) float32, in grey levels.
        direction: (N,) uint8, in units of 180 degrees / 16.
        clutter: (N,) float32, in grey levels.
    """

    indices: Index
    contrast: NDArray[np.float32]
    direction: NDArray[np.uint8]
    clutter: NDArray[np.float32]


def find_scratches(
    grey_HW: NDArray[np.uint8], polarity: Polarity = "both", *, sensitivity: int = 50, width: int | None = None
) -> Bool:
    """Return the pixels of thin lines, with a rim of about one pixel.

    Args:
        grey_HW: The photo, (H, W) uint8.
        polarity: Lines that are brighter than their surroundings, darker, or both.
        sensitivity: 0 to 100. 12 more halve the evidence that a line needs.
        width: Width of the widest scratches, in pixels. None: a 500th of the longer side, at least 4.

    Returns:
        (H, W), true on a scratch.
    """
    height, wide = grey_HW.shape
    widest = width or max(_WIDEST, max(grey_HW.shape) // 500)
    found = np.zeros(grey_HW.shape, np.bool_)
    most = min(widest / _WIDEST, min(height, wide) / (2 * _MIN_LENGTH))
    for factor in (2**level for level in range(1 + max(0, math.ceil(math.log2(most))))):
        small = np.asarray(Image.fromarray(grey_HW).reduce(factor)) if factor > 1 else grey_HW
        lines = _find_lines(small, polarity, sensitivity, max(_MIN_LENGTH, max(small.shape) // 50))
        for y, x in itertools.product(range(factor), repeat=2):
            part = found[y::factor, x::factor]
            part |= lines[: part.shape[0], : part.shape[1]]
    return found


def _find_lines(grey_HW: NDArray[np.uint8], polarity: Polarity, sensitivity: int, min_length: int) -> Bool:
    """Find lines of one to :data:`_WIDEST` pixels."""
    height, width = grey_HW.shape
    lines = np.zeros((height + 2, width + 2), np.bool_)
    ease = 2.0 ** ((50 - sensitivity) / 12)
    clutter = _measure_clutter(grey_HW)
    for candidates in _find_candidates(grey_HW, clutter, polarity, ease**0.25):
        chosen = candidates.indices[_accept(candidates, width + 2, _LIMIT * ease, min_length)]
        y, x = np.divmod(chosen, width + 2)
        for dy, dx in itertools.product(range(3), repeat=2):
            lines[y + dy, x + dx] = True
    return lines[1:-1, 1:-1]


def _measure_clutter(grey_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the 80th percentile of the gradients around each block, in grey levels."""
    height, width = grey_HW.shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    blocks = np.empty((rows, columns), np.float32)
    for row in range(rows):
        strip = np.pad(grey_HW[max(row * _BLOCK - 1, 0) : (row + 1) * _BLOCK + 1], 1, mode="edge").astype(np.int16)
        strip = strip[1 if row else 0 :][: _BLOCK + 2]
        gradient = np.maximum(abs(strip[2:, 1:-1] - strip[:-2, 1:-1]), abs(strip[1:-1, 2:] - strip[1:-1, :-2]))
        for column in range(columns):
            values = gradient[:, column * _BLOCK : (column + 1) * _BLOCK].ravel()
            rank = values.size * 4 // 5
            blocks[row, column] = np.partition(values, rank)[rank]
    padded = np.pad(blocks, 1, mode="edge")
    around = sum(padded[y : y + rows, x : x + columns] for y, x in itertools.product(range(3), repeat=2))
    return np.asarray(around / 9, np.float32)


def _find_candidates(
    grey_HW: NDArray[np.uint8], clutter: NDArray[np.float32], polarity: Polarity, ease: float
) -> Iterator[_Candidates]:
    """Yield the candidates of each polarity."""
    signs = {"bright": (1,), "dark": (-1,), "both": (1, -1)}[polarity]
    corners = list(itertools.product(*(range(0, side, _TILE) for side in grey_HW.shape)))
    with ThreadPoolExecutor(min(count_cores(), len(corners)), "scratches") as pool:
        tiles = list(pool.map(lambda corner: _search_tile(grey_HW, clutter, corner, signs, ease), corners))
    for parts in zip(*tiles, strict=True):
        indices, contrast, direction, near = (np.concatenate(values) for values in zip(*parts, strict=True))
        order = np.argsort(indices)
        yield _Candidates(indices[order], contrast[order], direction[order], near[order])


def _search_tile(
    grey_HW: NDArray[np.uint8],
    clutter: NDArray[np.float32],
    corner: tuple[int, int],
    signs: tuple[int, ...],
    ease: float,
) -> list[_Candidates]:
    """Return the candidates in the tile at a corner (top, left), for each sign."""
    height, width = grey_HW.shape
    top, left = corner
    bottom, right = min(top + _TILE, height), min(left + _TILE, width)
    rows = np.clip(np.arange(top - _REACH, bottom + _REACH), 0, height - 1)
    columns = np.clip(np.arange(left - _REACH, right + _REACH), 0, width - 1)
    blocks = clutter[top // _BLOCK : -(-bottom // _BLOCK), left // _BLOCK : -(-right // _BLOCK)]
    around = blocks.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[: bottom - top, : right - left]
    limit = _MIN_CONTRAST * ease + _CONTRAST_PER_CLUTTER * around
    found = []
    for contrast, direction in zip(*_filter_lines(grey_HW[np.ix_(rows, columns)].astype(np.int16), signs), strict=True):
        y, x = np.nonzero(contrast > limit)
        indices = (y + top) * (width + 2) + x + left
        found.append(_Candidates(indices, contrast[y, x], direction[y, x], around[y, x]))
    return found


def _filter_lines(
    tile_HW: NDArray[np.int16], signs: tuple[int, ...]
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.uint8]]]:
    """Return the contrast of the best line through each pixel and its direction, for each sign.

    Args:
        tile_HW: (H + 2 * reach, W + 2 * reach) grey levels.
        signs: 1 for bright lines, -1 for dark ones.
    """
    height, stride = tile_HW.shape
    start, stop = _REACH * stride, (height - _REACH) * stride
    best = [np.zeros(stop - start, np.int16) for _ in signs]
    directions = [np.zeros(stop - start, np.uint8) for _ in signs]
    for number in range(_NUM_DIRECTIONS):
        angle = np.pi * number / _NUM_DIRECTIONS
        along = np.array([np.sin(angle), np.cos(angle)])
        sums, centre = _sum_lines(tile_HW, along)
        origin = start - int(np.rint(centre) @ (stride, 1))
        middle = sums[origin : origin + stop - start]
        flanks = []
        for distance in (*_FLANKS, *(-flank for flank in _FLANKS)):
            shift = int(np.rint(distance * along[::-1] * (1, -1)) @ (stride, 1))
            flanks.append(sums[origin + shift : origin + shift + stop - start])
        most = np.maximum(np.maximum(flanks[0], flanks[1]), np.maximum(flanks[2], flanks[3]))
        least = np.minimum(np.minimum(flanks[0], flanks[1]), np.minimum(flanks[2], flanks[3]))
        spread = (most - least) >> 1
        for sign, peak, direction in zip(signs, best, directions, strict=True):
            contrast = (middle - most if sign > 0 else least - middle) - spread
            better = contrast > peak
            np.copyto(peak, contrast, where=better)
            direction[better] = number

    def crop(flat: NDArray[np.int16] | NDArray[np.uint8]) -> NDArray[np.int16] | NDArray[np.uint8]:
        return flat.reshape(-1, stride)[:, _REACH:-_REACH]

    scale = np.float32(2**-_LINE_DOUBLINGS)
    return [crop(peak) * scale for peak in best], [crop(direction).astype(np.uint8) for direction in directions]


def _sum_lines(tile_HW: NDArray[np.int16], along: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return the sum over a line of 16 pixels from each pixel, as a flat array, and where the line's centre lies.

    Each step adds the line to its own copy, moved by its length. In a flat array that is one addition.
    """
    sums, stride = tile_HW.ravel(), tile_HW.shape[1]
    centre = np.zeros(2)
    for doubling in range(_LINE_DOUBLINGS):
        move = np.rint(along * 2**doubling)
        shift = int(move @ (stride, 1))
        if shift < 0:
            move, shift = -move, -shift
        centre += move / 2
        sums = sums[: sums.size - shift] + sums[shift:]
    return sums, centre


def _accept(candidates: _Candidates, stride: int, limit: float, min_length: int) -> Bool:
    """Return which candidates belong to scratches."""
    strong, weak = (np.zeros(candidates.indices.size, np.bool_) for _ in range(2))
    for first in range(0, _NUM_DIRECTIONS, 2):
        # Overlapping sectors of 45 degrees, so that curves are cut into few segments.
        chosen = np.flatnonzero((candidates.direction - np.uint8(first)) % _NUM_DIRECTIONS < 4)
        if not chosen.size:
            continue
        runs = group_runs(candidates.indices[chosen])
        labels, num_labels = label_runs(runs, stride)
        lengths = measure_extents(runs, labels, num_labels, stride)
        labels = labels.repeat(runs.stops - runs.starts)
        areas = np.bincount(labels)
        contrast, clutter = (
            np.bincount(labels, values[chosen]) / areas for values in (candidates.contrast, candidates.clutter)
        )
        evidence = lengths * contrast / (clutter + 5) ** 3
        thin = areas <= _MAX_RATIO * lengths
        strong[chosen] |= (thin & (lengths >= min_length) & (evidence >= limit))[labels]
        weak[chosen] |= ((lengths >= _MIN_LINK) & (evidence >= _LINK_SHARE * limit))[labels]
    both = np.flatnonzero(strong | weak)
    if both.size:
        runs = group_runs(candidates.indices[both])
        labels, num_labels = label_runs(runs, stride)
        labels = labels.repeat(runs.stops - runs.starts)
        is_scratch = np.zeros(num_labels, np.bool_)
        is_scratch[labels[strong[both]]] = True
        strong[both] = is_scratch[labels]
    return strong
