"""Estimate memory, and limit the number of pixels in one run of the engine."""

from dataclasses import dataclass

from wavepaint.errors import ConfigError
from wavepaint.runtime.filling.regions import MIN_SIDE
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.sizes import SizeRange

DEFAULT_MB = 2048
"""Default bound on the memory of the process, in MiB; a photo that needs more gets that and room for a few tiles."""

BASE_MB = 320
"""Memory of the interpreter, the libraries and the weights of a small model, in MiB."""

AHEAD = 2
"""Photos that are decoded or encoded while others are being filled."""

MIN_PIXELS = 384 * 384
"""Lowest limit on the pixels in one run: a tile of twice the overlap and some pixels of its own."""

_ENOUGH_PIXELS = 3 * MIN_PIXELS
"""Lowest limit on the pixels in one run if the user sets no bound on memory."""

_PATCH_BYTES = 3 * 4 * 4 + 8
"""Memory of one pixel of a patch outside the engine: image, padded copy, output, blended fill, and masks."""


def estimate_photo_bytes(photo: Photo) -> int:
    """Return the memory of a photo while it is filled: its pixels, those of the result, and three masks."""
    width, height = photo.size
    return 2 * photo.pixels.nbytes + 3 * width * height


def limit_pixels(photo: Photo, bytes_per_pixel: float, max_memory_mb: int | None, streams: int) -> int:
    """Return the largest number of pixels in one run of the engine.

    Args:
        photo: The photo to fill.
        bytes_per_pixel: Peak memory of the engine for one pixel.
        max_memory_mb: Bound on the memory of the whole process, in MiB; None for :data:`DEFAULT_MB`, or as much as the
            photo needs.
        streams: Number of concurrent runs of the engine. With several, :data:`AHEAD` more photos are in memory.

    Raises:
        ConfigError: The bound is too low for this photo.
    """
    fixed, each = estimate_photo_bytes(photo), bytes_per_pixel + _PATCH_BYTES
    num_photos = 1 if streams == 1 else streams + AHEAD
    room = ((max_memory_mb or DEFAULT_MB) - BASE_MB) << 20
    allowed = int((room - num_photos * fixed) / streams / each)
    if max_memory_mb is None:
        return max(allowed, _ENOUGH_PIXELS)
    if allowed < MIN_PIXELS:
        needed_mb = BASE_MB + int((num_photos * fixed + streams * each * MIN_PIXELS) / 2**20) + 1
        width, height = photo.size
        raise ConfigError(
            f"{max_memory_mb} MiB are too few for {photo.source} of {width}x{height} pixels: this model in this engine "
            f"needs {needed_mb} MiB. Raise --max-memory, choose a precision of 16 bits, or scale the photo down."
        )
    return allowed


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of model and machine on one run of the engine.

    Attributes:
        max_pixels: Most pixels in the whole batch; at least :data:`MIN_PIXELS`.
        max_batch: Most patches in the batch.
        thickness: Side in pixels of the largest square hole that is filled at full resolution.
        multiple: The model's size multiple.
        sizes: Ranges of sizes that the engine takes; at least one contains a size whose sides are multiples.
    """

    max_pixels: int
    max_batch: int
    thickness: int
    multiple: int
    sizes: tuple[SizeRange, ...] = (SizeRange(),)

    @property
    def least_region(self) -> tuple[int, int]:
        """Smallest height and width of a region: a smaller one would be padded, although the photo has real pixels."""
        height, width = (min(sizes.least[axis] for sizes in self.sizes) for axis in (1, 2))
        return max(height, MIN_SIDE), max(width, MIN_SIDE)

    @property
    def most_region(self) -> tuple[int, int]:
        """Largest height and width that the network takes."""
        height, width = (max(sizes.most[axis] for sizes in self.sizes) for axis in (1, 2))
        return height, width

    def allow(self, height: int, width: int) -> bool:
        """Return whether a patch may run in a batch of one. The engine's smallest run is always allowed."""
        _, num_pixels = self._find_smallest_run(1, 1)
        size, needed = self._find_smallest_run(height, width)
        return size is not None and needed <= max(self.max_pixels, num_pixels)

    def pad(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the sides to which a patch is padded; None if it is larger than the engine takes."""
        return self._find_smallest_run(height, width)[0]

    def _find_smallest_run(self, height: int, width: int) -> tuple[tuple[int, int] | None, int]:
        """Return the padded sides of the smallest run that contains a patch, and its pixels before that padding."""
        runs = [
            (sizes.least[0] * max(height, sizes.least[1]) * max(width, sizes.least[2]), padded)
            for sizes in self.sizes
            if (padded := sizes.pad(height, width, self.multiple))
        ]
        num_pixels, padded = min(runs, default=(0, None))
        return padded, num_pixels

    def choose_batch(self, wanted: int, height: int, width: int) -> int:
        """Return how many patches of a padded size to run at once.

        Args:
            wanted: Number of patches that are waiting.
            height: Height of each, as :meth:`pad` returned it.
            width: Width of each.

        Returns:
            As many as memory and engine allow; more than wanted only if the engine takes no smaller batch.
        """
        allowed = max(min(wanted, self.max_batch, self.max_pixels // (height * width)), 1)
        ranges = [
            (sizes.least[0], sizes.most[0]) for sizes in self.sizes if sizes.contains((sizes.least[0], height, width))
        ]
        fitting = [min(allowed, most) for least, most in ranges if least <= allowed]
        return max(fitting) if fitting else min(least for least, _ in ranges)
