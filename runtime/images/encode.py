"""Encode photos without losing anything that the format can store."""

import io
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import NoneType

from PIL import Image
from wavepaint.arguments import check_type
from wavepaint.atomic import write_file
from wavepaint.errors import OutputError, WavePaintWarning, printable
from wavepaint.runtime.images.kinds import HEIF_SUFFIXES
from wavepaint.runtime.images.metadata import make_tags
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.sixteen_bit import encode_png, encode_tiff

_WRITTEN = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "TGA", "PPM", "AVIF", "JPEG2000")
# Pillow drops alpha in the first and writes 8 bits in the second, for some formats without a warning.
_NO_ALPHA = ("JPEG", "BMP", "PPM")
_NO_DEPTH = ("JPEG", "WEBP", "BMP", "TGA", "PPM", "AVIF")
_NO_METADATA = ("BMP", "TGA", "PPM", "JPEG2000")
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "TGA": 65_535, "AVIF": 65_536}
_MAX_JPEG_EXIF = 65_533
_UNWRITTEN = (".pbm", ".pfm")
"""Kinds of PPM that hold 1-bit or floating-point pixels; those of a photo have 8 or 16 bits."""

_CODESTREAMS = (".j2k", ".j2c", ".jpc")
"""Suffixes of JPEG 2000 without the container of .jp2."""


def name_result(path: Path) -> Path:
    """Return the name of a photo's result: the photo's own, with .png for a suffix that is not written."""
    keeps = not path.suffix or (is_written(path.suffix) and path.suffix.lower() not in _UNWRITTEN)
    return path if keeps else path.with_suffix(".png")


def is_written(suffix: str) -> bool:
    """Return whether a file with a suffix such as ".png" can be written."""
    chosen = Image.registered_extensions().get(suffix.lower(), "")
    return chosen in _WRITTEN and chosen in Image.SAVE


def _choose_format(path: Path | None, photo: Photo) -> str:
    name = printable(path or "the result")
    extensions = Image.registered_extensions()  # also loads every plugin, which fills Image.SAVE
    if path is None or not path.suffix:
        chosen = "PNG" if photo.format in (None, "HEIF") else photo.format
    elif path.suffix.lower() in HEIF_SUFFIXES:
        raise OutputError(f"{name}: HEIC files are not written, because that changes known pixels. Use .png or .jpg.")
    else:
        chosen = extensions.get(path.suffix.lower(), "")
        if not chosen:
            raise OutputError(
                f"{name}: {printable(path.suffix)} is not a known image suffix. Use .png, .jpg, .webp or .tif."
            )
    if chosen == "GIF":
        raise OutputError(f"{name}: a GIF holds only 256 colours, which would change known pixels. Use .png.")
    if path and path.suffix.lower() in _UNWRITTEN:
        raise OutputError(f"{name}: .pbm and .pfm files are not written. Use .ppm, .png or .tif.")
    if path and path.suffix.lower() == ".pgm" and photo.num_colours == 3:
        raise OutputError(f"{name}: a .pgm file holds no colours. Use .ppm, .png or .tif.")
    if chosen not in _WRITTEN or chosen not in Image.SAVE:
        raise OutputError(f"{chosen} files are not written. Use .png, .jpg, .webp or .tif.")
    return chosen


def _check_kind(path: Path | None, chosen: str, photo: Photo) -> None:
    reason = ""
    if photo.pixels.dtype.itemsize == 2 and (chosen in _NO_DEPTH or (photo.is_deep_colour and chosen == "JPEG2000")):
        reason = "16 bits a channel. PNG and TIFF can: use a name in .png or .tif"
    elif photo.has_alpha and chosen in _NO_ALPHA:
        reason = "alpha. PNG can hold it: use a name in .png"
    elif max(photo.size) > _MAX_SIDE.get(chosen, math.inf):
        reason = f"more than {_MAX_SIDE[chosen]} pixels a side. PNG can: use a name in .png"
    elif chosen == "JPEG" and len(photo.save_options.get("exif", b"")) > _MAX_JPEG_EXIF:
        reason = f"EXIF of more than {_MAX_JPEG_EXIF} bytes. PNG can hold it: use a name in .png"
    if reason:
        raise OutputError(
            f"{printable(path or 'the result')} cannot be written as {chosen}, which does not hold {reason}."
        )


def check_output(photo: Photo, path: Path | None) -> None:
    """Refuse a photo that :func:`encode_photo` would refuse, before any work is done.

    Raises:
        OutputError: An unknown format, or one that cannot hold the photo's channels, depth, size or EXIF.
    """
    _check_kind(path, _choose_format(path, photo), photo)


def encode_photo(photo: Photo, path: str | os.PathLike[str] | None = None) -> bytes:
    """Encode a photo in the format of ``path``'s suffix; without a suffix in the photo's own format, else as PNG.

    Lossless formats keep every pixel. A JPEG that is written as a JPEG keeps its quantization tables.

    Warns:
        WavePaintWarning: The format holds neither ICC profile nor EXIF, and the photo has one.

    Raises:
        OutputError: As :func:`check_output`.
        ConfigError: An argument is of another type.
    """
    check_type("photo", photo, Photo, "a Photo, as read_photo returns it")
    check_type("path", path, (str, os.PathLike, NoneType), "a file's path, or None for the photo's own format")
    path = None if path is None else Path(path)
    chosen = _choose_format(path, photo)
    _check_kind(path, chosen, photo)
    options = dict(photo.save_options)
    if chosen == "JPEG":
        options |= photo.jpeg_options or {"quality": 95, "subsampling": 0}
    elif chosen == "PNG":
        options["compress_level"] = 3  # half the time of zlib's default on photos, 3 % larger
    elif chosen == "WEBP":
        # Pillow does not report whether the source was lossy, so the result is always lossless.
        options |= {"lossless": True, "exact": True}
    elif chosen == "AVIF":  # Pillow has no lossless form
        options |= {"quality": 95, "subsampling": "4:4:4"}
    elif chosen == "JPEG2000" and path and path.suffix.lower() in _CODESTREAMS:
        options["no_jp2"] = True
    if chosen in _NO_METADATA:
        _warn_of_loss(path, chosen, options)
    if chosen != "TIFF":
        options.pop("compression", None)
    try:
        if photo.is_deep_colour:
            return encode_png(photo.pixels, options) if chosen == "PNG" else encode_tiff(photo.pixels, options)
        if chosen == "TIFF" and "exif" in options:
            options["tiffinfo"] = make_tags(options.pop("exif"))
        stream = io.BytesIO()
        photo.to_pil().save(stream, chosen, **options)
        return stream.getvalue()
    except Exception as error:  # Pillow's plugins raise many kinds if a photo or its EXIF does not fit the format
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        fix = "" if chosen == "PNG" else " PNG can hold it: use a name in .png."
        if isinstance(error, MemoryError) or reason.startswith("out of memory"):
            width, height = photo.size
            reason = f"there is no memory left to encode {width}x{height} pixels"
            fix = " Close other programs, or scale the photo down."
        raise OutputError(f"{printable(path or 'the result')} cannot be written as {chosen}: {reason}.{fix}") from error


def _warn_of_loss(path: Path | None, chosen: str, options: Mapping[str, object]) -> None:
    lost = [name for key, name in (("icc_profile", "ICC profile"), ("exif", "EXIF")) if key in options]
    if lost:
        warnings.warn(
            f"{printable(path or 'the result')}: {chosen} files hold no {' and no '.join(lost)}, so the result lacks "
            "it. PNG keeps it: use a name in .png.",
            WavePaintWarning,
            stacklevel=3,
        )


def write_photo(photo: Photo, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a photo to a file, which appears complete or not at all.

    Raises:
        OutputError: As :func:`encode_photo`, or ``path`` exists and ``overwrite`` is false, or it cannot be written.
        ConfigError: An argument is of another type.
    """
    check_type("path", path, (str, os.PathLike), "a file's path")
    data = encode_photo(photo, path)
    with write_file(Path(path), overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
