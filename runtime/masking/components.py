"""Label connected pixels, by the horizontal runs that they form."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from wavepaint.runtime.images.arrays import slice_rows

Index = NDArray[np.intp]


class Runs(NamedTuple):
    """Horizontal runs of pixels in row-major order; pixel (y, x) has the index ``y * stride + x``.

    The stride is at least one larger than the width, so no run goes on in the next row.

    Attributes:
        starts: Index of the first pixel of each run.
        stops: Index after the last pixel of each run.
    """

    starts: Index
    stops: Index


def find_runs(marked_HW: NDArray[np.bool_]) -> tuple[Runs, int]:
    """Return the runs of marked pixels and their stride."""
    stride = marked_HW.shape[1] + 1
    found: list[tuple[Index, Index]] = []
    for rows in slice_rows(marked_HW.shape):
        padded = np.pad(marked_HW[rows], ((0, 0), (0, 1))).ravel()
        changes = np.flatnonzero(np.diff(padded, prepend=False)) + rows.start * stride
        found.append((changes[::2], changes[1::2]))
    return Runs(*(np.concatenate(ends) for ends in zip(*found, strict=True))), stride


def group_runs(indices: Index) -> Runs:
    """Return the runs of pixels with the given indices, which increase."""
    breaks = np.flatnonzero(np.diff(indices) > 1) + 1
    starts = indices[np.concatenate(([0], breaks))] if indices.size else indices
    stops = indices[np.concatenate((breaks - 1, [-1]))] + 1 if indices.size else indices
    return Runs(starts, stops)


def label_runs(runs: Runs, stride: int) -> tuple[Index, int]:
    """Number the 8-connected components of runs.

    Returns:
        The component of each run, from 0, and the number of components.
    """
    first = np.searchsorted(runs.stops, runs.starts + stride)  # the runs below that touch, also at a corner
    last = np.searchsorted(runs.starts, runs.stops + stride, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(counts.size), counts)
    below = np.arange(above.size) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    roots = np.arange(counts.size)
    while True:
        # Hang the larger root of each pair below the smaller one, then shorten all paths to the root.
        low, high = np.minimum(roots[above], roots[below]), np.maximum(roots[above], roots[below])
        if np.array_equal(low, high):
            break
        np.minimum.at(roots, high, low)
        while not np.array_equal(shorter := roots[roots], roots):
            roots = shorter
    _, labels = np.unique(roots, return_inverse=True)
    return labels, int(labels.max(initial=-1)) + 1


def count_components(marked_HW: NDArray[np.bool_]) -> int:
    """Return the number of 8-connected components."""
    return label_runs(*find_runs(marked_HW))[1]


def measure_extents(runs: Runs, labels: Index, num_labels: int, stride: int) -> NDArray[Any]:
    """Return the diagonal in pixels of the rectangle around each component."""
    extents = []
    for low, high in (
        (runs.starts // stride, runs.starts // stride),
        (runs.starts % stride, (runs.stops - 1) % stride),
    ):
        least, most = np.full(num_labels, np.iinfo(np.intp).max), np.zeros(num_labels, np.intp)
        np.minimum.at(least, labels, low)
        np.maximum.at(most, labels, high)
        extents.append(most - least + 1)
    return np.asarray(np.hypot(*extents))
