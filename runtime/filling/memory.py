"""How much memory a fill will take, and what may pass the engine at once so that it stays within a bound."""

from wavepaint.errors import ConfigError
from wavepaint.runtime.filling.strategy import MIN_PIXELS
from wavepaint.runtime.images.photo import Photo

DEFAULT_MB = 2048
"""Bound where none is given, in MiB; a photo that needs more by itself gets room for some tiles beside it."""

BASE_MB = 320
"""Interpreter, libraries and the weights of a small model."""

AHEAD = 2
"""Photographs that are decoded or encoded while all streams are filled."""

_ENOUGH_PIXELS = 3 * MIN_PIXELS

_PATCH_BYTES = 3 * 4 * 4 + 8
"""Bytes a pixel of a patch takes outside the engine: image, padded copy, output and blended fill, and masks."""


def photo_bytes(photo: Photo) -> int:
    """Return what a photo takes while it is filled: its pixels, those of the result, and three masks."""
    width, height = photo.size
    return 2 * photo.pixels.nbytes + 3 * width * height


def max_pixels(photo: Photo, bytes_per_pixel: float, max_memory_mb: int | None, streams: int) -> int:
    """Return how many pixels may pass the engine at once.

    Args:
        photo: What is to be filled.
        bytes_per_pixel: Peak memory of the engine.
        max_memory_mb: Bound on the memory of the whole process, in MiB; None for :data:`DEFAULT_MB`, or what the photo
            needs.
        streams: Runs at once. With several, :data:`AHEAD` photos more are held.

    Raises:
        ConfigError: The bound is too low for this photo.
    """
    fixed, each = photo_bytes(photo), bytes_per_pixel + _PATCH_BYTES
    num_photos = 1 if streams == 1 else streams + AHEAD
    room = ((max_memory_mb or DEFAULT_MB) - BASE_MB) << 20
    allowed = int((room - num_photos * fixed) / streams / each)
    if max_memory_mb is None:
        return max(allowed, _ENOUGH_PIXELS)
    if allowed < MIN_PIXELS:
        needed_mb = BASE_MB + int((num_photos * fixed + streams * each * MIN_PIXELS) / 2**20) + 1
        width, height = photo.size
        raise ConfigError(
            f"{max_memory_mb} MiB do not suffice for {photo.source} of {width}x{height} pixels: this model in this "
            f"engine needs {needed_mb} MiB (--max-memory). A precision of 16 bits or a smaller photo needs less."
        )
    return allowed
