"""Mark what was painted in a colour."""

import io
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from wavepaint.errors import ConfigError
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.images.arrays import slice_rows
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.previews import as_rgb

Colour = tuple[int, int, int]


def parse_colour(text: str) -> Colour:
    """Return red, green and blue, 0 to 255, of a colour.

    Args:
        text: ``#ff00ff`` or ``ff00ff`` (a shell takes # for a comment unless it is quoted), ``#f0f``, a name of
            CSS such as ``magenta``, ``rgb(255, 0, 255)`` or another notation that Pillow knows.

    Raises:
        ConfigError: The text is no colour.
    """
    named = text.strip()
    if re.fullmatch(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}", named):
        named = f"#{named}"
    try:
        red, green, blue = ImageColor.getrgb(named)[:3]
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{text[:60]!r} is not a colour: expected one such as '#ff00ff', ff00ff or magenta (--from-color)."
        ) from error
    return red, green, blue


def read_levels(photo: Photo) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Yield the rows and the colours of strips, (h, W, 3) uint8 in sRGB, as viewers show them.

    Transparent parts are white. An ICC profile is applied if this Pillow can do it.
    """
    convert = _open_profile(photo)
    for rows in slice_rows(photo.pixels.shape):
        strip = as_rgb(Photo(pixels=photo.pixels[rows]))
        yield rows, strip if convert is None else np.asarray(convert(Image.fromarray(strip)))


def _open_profile(photo: Photo) -> Callable[[Image.Image], Image.Image] | None:
    """Return a function that converts colours to sRGB; None if they are sRGB, or nothing is known about them."""
    profile = photo.save_options.get("icc_profile")
    if not profile or photo.num_colours == 1:
        return None
    try:
        from PIL import ImageCms
    except ImportError:  # some builds of Pillow lack it
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
    return lambda image: transform.apply(image)


def mark_colours(hole_HW: Bool, photo: Photo, colours: Sequence[Colour], tolerance: int) -> int:
    """Add the pixels of some colours to a mask.

    Args:
        hole_HW: The mask, which is changed.
        photo: The photo.
        colours: Red, green and blue of each colour in sRGB.
        tolerance: Largest difference of a channel, 0 to 255.

    Returns:
        The smallest difference between a pixel and a colour, 0 to 255.
    """
    nearest = 255
    for rows, levels in read_levels(photo):
        for colour in colours:
            differences = [
                np.maximum(levels[..., i], level) - np.minimum(levels[..., i], level)
                for i, level in enumerate(np.array(colour, np.uint8))
            ]
            difference = np.maximum(np.maximum(differences[0], differences[1]), differences[2])
            hole_HW[rows] |= difference <= tolerance
            nearest = min(nearest, int(difference.min()))
    return nearest
