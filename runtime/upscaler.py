"""Photos of twice the size: ``wp upscale``."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import SUPER_RESOLUTION
from wavepaint.errors import BundleError
from wavepaint.runtime.filling.padding import pad_to_multiple
from wavepaint.runtime.images.arrays import quantize
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.previews import as_rgb
from wavepaint.runtime.task_model import TaskModel

FACTOR = 2
TILE, MARGIN = 512, 64
"""Sides of the tiles of a photo, and of the surroundings that a tile is computed with, in pixels. Both are multiples of
every network's size multiple, so that each pixel lies at the same place of the wavelets' grid as in the whole photo."""


class Upscaler(TaskModel):
    """A network for super-resolution, loaded once and used for many photos.

    Example::

        from wavepaint.runtime.upscaler import Upscaler

        with Upscaler("bundles/sharp") as upscaler:
            pixels = upscaler.upscale("photo.jpg")  # (2H, 2W, 3) uint8
    """

    task = SUPER_RESOLUTION

    def upscale(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return a photo at twice its size, (2H, 2W, 3) uint8. Transparent parts of the photo are put on white.

        Args:
            image: A path, an encoded file's bytes, a PIL image or an array. An EXIF orientation is applied.

        Raises:
            ImageError: See :func:`wavepaint.runtime.images.read.read_photo`.
            EngineError: The engine failed, or returned values that are not finite.
            BundleError: The model does not double the size.
        """
        return self.upscale_photo(read_photo(image))

    def upscale_photo(self, photo: Photo) -> NDArray[np.uint8]:
        """Upscale a decoded photo, as :meth:`upscale` does after decoding."""
        pixels = as_rgb(photo)
        height, width = pixels.shape[:2]
        larger = np.empty((FACTOR * height, FACTOR * width, 3), np.uint8)
        for top, bottom in _cut(height):
            for left, right in _cut(width):
                y, x = max(top - MARGIN, 0), max(left - MARGIN, 0)
                tile = self._run(pixels[y : bottom + MARGIN, x : right + MARGIN])
                larger[FACTOR * top : FACTOR * bottom, FACTOR * left : FACTOR * right] = tile[
                    FACTOR * (top - y) : FACTOR * (bottom - y), FACTOR * (left - x) : FACTOR * (right - x)
                ]
        return larger

    def _run(self, pixels_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a part of a photo at twice its size."""
        manifest = self.bundle.manifest
        height, width = pixels_HW3.shape[:2]
        padded = pad_to_multiple(pixels_HW3, manifest.size_multiple, manifest.padding)
        image = np.ascontiguousarray(padded.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        output = self._session.run(image)
        if output.shape[2:] != (FACTOR * padded.shape[0], FACTOR * padded.shape[1]):
            raise BundleError(f"the model in {self.bundle.folder} does not return images of twice the size.")
        self._require_finite(output)
        levels = quantize(np.clip(output[0].transpose(1, 2, 0), 0, 1), np.dtype(np.uint8))
        return np.asarray(levels[: FACTOR * height, : FACTOR * width], np.uint8)


def _cut(length: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each tile along a side."""
    return ((start, min(start + TILE, length)) for start in range(0, length, TILE))
