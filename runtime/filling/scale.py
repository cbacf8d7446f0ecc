"""Scale parts of photos down and up.

Everything works on strips or windows, which bounds the memory for large photos.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.runtime.filling.regions import Region
from wavepaint.runtime.images.arrays import Levels, slice_rows

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


def to_float(levels: Levels) -> Float:
    """Return levels of 8 or 16 bits as float32 in [0, 1]."""
    return levels.astype(np.float32) / np.float32(np.iinfo(levels.dtype).max)


def downscale(levels_HWC: Levels, hole_HW: Bool, factor: int) -> tuple[Float, Bool]:
    """Scale down by a whole factor without mixing colours of the hole into known pixels.

    Each pixel of the result is the mean of the known pixels of its block. It is known if at least half of the block
    is known, so thin lines of hole vanish and holes do not grow.

    Args:
        levels_HWC: (H, W, C) uint8 or uint16.
        hole_HW: (H, W), true in the hole.
        factor: Side of the blocks; blocks at the right and the bottom may be smaller.

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
    """Scale up by a whole factor with bicubic interpolation, and return one window of the result.

    Args:
        small_HWC: (h, w, C) float32.
        factor: As in :func:`downscale`.
        window: The part to return, in pixels of the large image.
    """
    # Pillow interpolates a box with the pixels around it, so a window equals that part of the whole.
    box = (window.left / factor, window.top / factor, window.right / factor, window.bottom / factor)
    size = (window.width, window.height)
    channels = [
        np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BICUBIC, box=box))
        for channel in np.moveaxis(small_HWC, 2, 0)
    ]
    return np.stack(channels, axis=2)
