"""Scaling parts of photographs down and up again, growing holes, and softening the edges of fills.

Everything works through strips or windows, so that what is held is bounded where photographs are large.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.runtime.filling.regions import MIN_CONTEXT, Region, find_regions
from wavepaint.runtime.images.arrays import slice_rows

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Levels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_GROWTH = MIN_CONTEXT
"""Most pixels by which a hole can be grown or its edge softened: the least margin of a region."""


def to_float(levels: Levels) -> Float:
    """Return levels of 8 or 16 bits as float32 in [0, 1]."""
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


def downscale(levels_HWC: Levels, hole_HW: Bool, factor: int) -> tuple[Float, Bool]:
    """Scale down by a whole factor without letting colours out of the hole.

    A pixel is the mean of the known pixels of its block. It is known if at least half of them are, so a thin line of
    hole vanishes in what is known, and a hole does not grow.

    Args:
        levels_HWC: (H, W, C) uint8 or uint16.
        hole_HW: (H, W), true in the hole.
        factor: Side of the blocks; those at the right and the bottom may be smaller.

    Returns:
        (ceil(H / factor), ceil(W / factor), C) float32 in [0, 1], and its hole.
    """
    height, width, channels = levels_HWC.shape
    small_height, small_width = -(-height // factor), -(-width // factor)
    image = np.zeros((small_height, small_width, channels), np.float32)
    hole = np.zeros((small_height, small_width), np.bool_)
    columns = np.arange(0, width, factor)
    for strip in slice_rows((small_height, width * factor)):
        part = slice(strip.start * factor, min(strip.stop * factor, height))
        known = ~hole_HW[part]
        rows = np.arange(0, known.shape[0], factor)
        colours = to_float(levels_HWC[part]) * known[..., None]
        sums = np.add.reduceat(np.add.reduceat(colours, rows, axis=0), columns, axis=1)
        counts = np.add.reduceat(np.add.reduceat(known.astype(np.float32), rows, axis=0), columns, axis=1)
        sizes = np.diff(np.append(rows, known.shape[0]))[:, None] * np.diff(np.append(columns, width))[None, :]
        image[strip] = sums / np.maximum(counts, 1)[..., None]
        hole[strip] = counts * 2 < sizes
    return image, hole


def upscale(small_HWC: Float, factor: int, window: Region) -> Float:
    """Scale up by a whole factor, by bicubic interpolation, and return one window of the result.

    Args:
        small_HWC: (h, w, C) float32.
        factor: As in :func:`downscale`.
        window: What is wanted, in pixels of the large image.
    """
    # Pillow resizes a box by whole pixels around it, so a window is exactly that part of the whole.
    box = (window.left / factor, window.top / factor, window.right / factor, window.bottom / factor)
    size = (window.width, window.height)
    channels = [
        np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BICUBIC, box=box))
        for channel in np.moveaxis(small_HWC, 2, 0)
    ]
    return np.stack(channels, axis=2)


def _shift_min(marked_HW: Bool, diagonals: bool) -> Bool:
    """Return which pixels are marked with all of their 4 (8) neighbours; beyond the borders all counts as marked."""
    kept = marked_HW.copy()
    kept[1:] &= marked_HW[:-1]
    kept[:-1] &= marked_HW[1:]
    source = kept.copy() if diagonals else marked_HW
    kept[:, 1:] &= source[:, :-1]
    kept[:, :-1] &= source[:, 1:]
    return kept


def erode(marked_HW: Bool, distance: int) -> Bool:
    """Return the pixels farther than ``distance`` from every unmarked one; beyond the borders all counts as marked.

    Distances are those of an octagon, crosses and squares in turn: in some directions it reaches 12 % farther.
    """
    for step in range(distance):
        marked_HW = _shift_min(marked_HW, diagonals=step % 2 == 1)
    return marked_HW


def grow_hole(hole_HW: Bool, distance: int) -> Bool:
    """Return the hole with every pixel within ``distance`` of it, as :func:`erode` measures.

    Args:
        hole_HW: (H, W), true in the hole.
        distance: 0 to :data:`MAX_GROWTH` pixels.
    """
    grown = hole_HW.copy()
    if distance:
        for region in find_regions(hole_HW):
            grown[region.slices] = ~erode(~hole_HW[region.slices], distance)
    return grown


def soften_edge(
    fill_HWC: Float, levels_HWC: Levels, hole_HW: Bool, valid_HW: Bool, window: Region, depth: int
) -> Float:
    """Lead a fill over into the photo, within the ring by which a hole was grown.

    At the grown hole's edge the result is the photo, ``depth`` pixels inside it is the fill; where nothing of the photo
    is valid, it is the fill everywhere.

    Args:
        fill_HWC: The fill of the window, float32 in [0, 1].
        levels_HWC: The whole image, uint8 or uint16; what is not valid does not matter.
        hole_HW: The whole mask, true where the fill is to go.
        valid_HW: True where the image is what it should be.
        window: What of them is wanted.
        depth: In pixels, up to :data:`MAX_GROWTH`.
    """
    valid = valid_HW[window.slices][..., None]
    if not valid.any():
        return fill_HWC
    height, width = hole_HW.shape
    halo = Region(
        max(window.left - depth, 0),
        max(window.top - depth, 0),
        min(window.right + depth, width),
        min(window.bottom + depth, height),
    )
    left = hole_HW[halo.slices]
    share = left.astype(np.float32)
    for step in range(depth):
        left = _shift_min(left, diagonals=step % 2 == 1)
        share += left
    share = (share[window.moved(-halo.top, -halo.left).slices] / np.float32(depth + 1))[..., None]
    led_over = share * fill_HWC + (1 - share) * to_float(levels_HWC[window.slices])
    return np.where(valid, led_over, fill_HWC)
