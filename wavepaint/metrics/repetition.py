"""Repetition: how much of a fill is a visible copy of something nearby, beyond what the photograph itself repeats.

A fill that borrows its detail may show the same thing twice: a shadow's edge as three saw-teeth, a rock three times.
Such a place has a twin in the image. The measure looks for twins of small windows by normalised cross-correlation (J.
P. Lewis, "Fast Normalized Cross-Correlation", 1995), as detectors of copy-move forgery do (J. Fridrich et al.,
"Detection of Copy-Move Forgery in Digital Images", 2003). The definition is this project's:

    repetition = |{p : p copied in the fill, much more closely than in the photograph}| / |{p}|

over places p in the hole, on a grid. p is *copied* if the window around it

- has contrast: its standard deviation is at least 0.03 of the brightness range,
- has hard edges: the gradient of the fill within it is at least 0.04 per pixel (root mean square), so that a fill that
  fails softly does not count, whose smooth shapes all resemble one another,
- has structure in two directions: the structure tensor's smaller eigenvalue is at least a tenth of the larger one,
  because each place of a straight edge equals the next, which is how an edge should be continued,
- has a twin at least 12 pixels and at most 160 pixels away: the correlation is above 0.85.

The photograph is searched in the same way at the same place. With correlations f in the fill and t in the photograph,
the part of the window that differs from its twin must be at most half as large, 1 - f <= (1 - t) / 2. A brick of a
brick wall thus does not count. Windows have 17 pixels per side and every other pixel of them is compared, after a
smoothing that removes noise and the finest texture (nobody recognises a blade of grass), and less the mean of the
surroundings, so that only shapes count.

Simple shapes resemble others by chance: a hole that is filled with the content of another photograph scores 0.03 to
0.1. Compare methods on the same photographs and masks.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from wavepaint.metrics.luma import Map, average_window, check_fill, make_luma

SAMPLES, SPACING = 9, 2
"""Samples per side of a window, and pixels between them."""
SIDE = (SAMPLES - 1) * SPACING + 1
GRID = 4
"""Pixels between places."""
FINEST, SURROUNDINGS = 3, 21
"""Sides in pixels of the windows whose means, taken twice, remove noise and the surroundings."""
NEAREST, REACH = 12, 160
"""Smallest and largest distance of a twin in pixels, along the larger of both axes."""
MIN_CONTRAST, MIN_GRADIENT, MIN_CORNER = 0.03, 0.04, 0.1
MIN_CORRELATION, MAX_RESIDUAL = 0.85, 0.5
"""Least correlation of a copy, and the largest part that differs from its twin, relative to the photograph's."""
_BATCH = 128


class Repetition(NamedTuple):
    """Places of the hole: how many there are, and the pixels (K, 2), row and column, of those with visible copies."""

    num_places: int
    copies: NDArray[np.intp]

    @property
    def share(self) -> float:
        """Share of the places with visible copies, 0 to 1; 0 for a hole without places."""
        return len(self.copies) / max(self.num_places, 1)


class _Windows:
    """All windows of an image: descriptors of mean 0 and norm 1, and the standard deviation of each window."""

    def __init__(self, image_HW3: NDArray[Any]) -> None:
        luma = make_luma(image_HW3)
        down, right = np.gradient(luma)
        self.steepness = down * down + right * right
        smooth = average_window(average_window(luma, FINEST), FINEST)
        self.detail = smooth - average_window(average_window(smooth, SURROUNDINGS), SURROUNDINGS)
        self.height, self.width = (side - SIDE + 1 for side in self.detail.shape)
        windows = sliding_window_view(self.detail, (SIDE, SIDE))[:, :, ::SPACING, ::SPACING]
        self.descriptors = windows.reshape(-1, SAMPLES**2)
        self.descriptors -= self.descriptors.mean(axis=1, keepdims=True)
        norm = np.sqrt(np.einsum("ij,ij->i", self.descriptors, self.descriptors))
        self.descriptors /= np.maximum(norm, 1e-6)[:, None]
        self.contrast = norm.reshape(self.height, self.width) / SAMPLES

    def crop(self, values: Map) -> Map:
        """Return a value per window: the one at its centre."""
        return values[SIDE // 2 :, SIDE // 2 :][: self.height, : self.width]

    def find_corners(self) -> NDArray[np.bool_]:
        """Return whether each window has structure in two directions."""
        down, right = np.gradient(self.detail)
        a, b, c = (self.crop(average_window(v, SIDE)) for v in (down * down, right * right, down * right))
        root = np.sqrt((a - b) ** 2 / 4 + c * c)
        small, large = (a + b) / 2 - root, (a + b) / 2 + root
        corners: NDArray[np.bool_] = small >= MIN_CORNER * large
        return corners

    def correlate(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Map:
        """Return each given window's largest correlation with another window in reach, -1 if there is none."""
        best = np.full(len(rows), -1, np.float32)
        for start in range(0, len(rows), _BATCH):
            batch = slice(start, start + _BATCH)  # places come in the order of rows, so a strip holds all their twins
            top = max(int(rows[batch].min()) - REACH, 0)
            strip = self.descriptors[top * self.width : (int(rows[batch].max()) + REACH + 1) * self.width]
            table = self.descriptors[rows[batch] * self.width + columns[batch]] @ strip.T
            for index, (row, column) in enumerate(zip(rows[batch] - top, columns[batch], strict=True), start):
                found = table[index - start].reshape(-1, self.width)
                near, far = (
                    (slice(max(row - d, 0), row + d + 1), slice(max(column - d, 0), column + d + 1))
                    for d in (NEAREST - 1, REACH)
                )
                found[near] = -1
                best[index] = found[far].max()
        return best


def measure_repetition(truth_HW3: NDArray[Any], filled_HW3: NDArray[Any], mask_HW: NDArray[Any]) -> Repetition:
    """Find the visible copies in a fill that the photograph does not have.

    Args:
        truth_HW3: The photograph, (H, W, 3): uint8, or floating-point in [0, 1].
        filled_HW3: The same with the hole filled.
        mask_HW: (H, W), nonzero in the hole.

    Returns:
        The places. Those within 8 pixels of the image's border have no full window and are left out.

    Raises:
        ImageError: The arrays do not fit together.
    """
    check_fill(truth_HW3, filled_HW3, mask_HW)
    if min(mask_HW.shape) < SIDE:
        return Repetition(0, np.empty((0, 2), np.intp))
    windows = _Windows(filled_HW3)
    hole = (mask_HW != 0).astype(np.float32)
    grid = np.zeros((windows.height, windows.width), bool)
    grid[::GRID, ::GRID] = True
    grid &= windows.crop(hole) > 0
    share = windows.crop(average_window(hole, SIDE))
    steepness = windows.crop(average_window(windows.steepness * hole, SIDE))
    hard = (windows.contrast >= MIN_CONTRAST) & (steepness >= MIN_GRADIENT**2 * share)
    places = np.nonzero(grid & (share > 0.5) & hard & windows.find_corners())
    correlation = windows.correlate(*places)
    alike = correlation >= MIN_CORRELATION
    rows, columns = (axis[alike] for axis in places)
    own = _Windows(truth_HW3).correlate(rows, columns) if len(rows) else np.empty(0, np.float32)
    copied = 1 - correlation[alike] <= MAX_RESIDUAL * (1 - own)
    return Repetition(int(grid.sum()), np.stack([rows[copied], columns[copied]], axis=-1) + SIDE // 2)
