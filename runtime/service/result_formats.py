"""The formats of results: their names in requests, suffixes and media types."""

from pathlib import Path

from PIL import Image
from wavepaint.runtime.images.encode import is_written
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.service.request_errors import refuse_value, shorten

_SUFFIXES = {
    "png": ".png",
    "jpeg": ".jpg",
    "jpg": ".jpg",
    "webp": ".webp",
    "tiff": ".tif",
    "tif": ".tif",
    "bmp": ".bmp",
    "avif": ".avif",
}

FORMATS = tuple(_SUFFIXES)
"""Values of the field ``format``."""

_OWN_SUFFIXES = {"JPEG2000": ".jp2", "TGA": ".tga", "PPM": ".ppm"}


def choose_suffix(name: str) -> str:
    """Return the suffix of a format.

    Raises:
        RequestError: The format is unknown, or this installation does not write it.
    """
    suffix = _SUFFIXES.get(name.lower(), "")
    if not is_written(suffix):
        written = ", ".join(name for name in FORMATS if is_written(_SUFFIXES[name]))
        raise refuse_value("format", repr(shorten(name)), written)
    return suffix


def name_output(photo: Photo, suffix: str | None) -> Path:
    """Return a file name for a result: with a suffix, or without one in the photo's own format.

    A photo whose format is not written, such as a GIF, becomes a PNG, as on the command line.
    """
    own = photo.format or ""
    suffix = suffix or _SUFFIXES.get(own.lower()) or _OWN_SUFFIXES.get(own, "")
    return Path(f"result{suffix if is_written(suffix) else '.png'}")


def find_media_type(output: Path) -> str:
    """Return the media type of a result."""
    return Image.MIME.get(Image.registered_extensions()[output.suffix], "application/octet-stream")
