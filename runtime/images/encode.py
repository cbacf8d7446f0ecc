"""Encode photos without losing anything that the format can store."""

import io
from pathlib import Path

from PIL import Image
from wavepaint.atomic import write_file
from wavepaint.errors import OutputError, printable
from wavepaint.runtime.images.kinds import HEIF_SUFFIXES
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.sixteen_bit import encode_png, encode_tiff

_WRITTEN = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "TGA", "PPM", "AVIF", "JPEG2000")
# Pillow drops alpha in the first and writes 8 bits in the second, for some formats without a warning.
_NO_ALPHA = ("JPEG", "BMP", "PPM")
_NO_DEPTH = ("JPEG", "WEBP", "BMP", "TGA", "PPM", "AVIF")


def name_result(path: Path) -> Path:
    """Return the name of a photo's result: the photo's own, with .png for a suffix that is not written."""
    return path if not path.suffix or is_written(path.suffix) else path.with_suffix(".png")


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
    if chosen not in _WRITTEN or chosen not in Image.SAVE:
        raise OutputError(f"{chosen} files are not written. Use .png, .jpg, .webp or .tif.")
    return chosen


def _check_kind(path: Path | None, chosen: str, photo: Photo) -> None:
    reason = ""
    if photo.pixels.dtype.itemsize == 2 and (chosen in _NO_DEPTH or (photo.is_deep_colour and chosen == "JPEG2000")):
        reason = "16 bits a channel. PNG and TIFF can: use a name in .png or .tif"
    elif photo.has_alpha and chosen in _NO_ALPHA:
        reason = "alpha. PNG can hold it: use a name in .png"
    if reason:
        raise OutputError(
            f"{printable(path or 'the result')} cannot be written as {chosen}, which does not hold {reason}."
        )


def check_output(photo: Photo, path: Path | None) -> None:
    """Refuse a photo that :func:`encode_photo` would refuse, before any work is done.

    Raises:
        OutputError: An unknown format, or one that cannot hold the photo's channels or depth.
    """
    _check_kind(path, _choose_format(path, photo), photo)


def encode_photo(photo: Photo, path: Path | None = None) -> bytes:
    """Encode a photo in the format of ``path``'s suffix; without a suffix in the photo's own format, else as PNG.

    Lossless formats keep every pixel. A JPEG that is written as a JPEG keeps its quantization tables.

    Raises:
        OutputError: An unknown format, or one that cannot hold the photo's channels or depth.
    """
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
    if chosen != "TIFF":
        options.pop("compression", None)
    try:
        if photo.is_deep_colour:
            return encode_png(photo.pixels, options) if chosen == "PNG" else encode_tiff(photo.pixels, options)
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


def write_photo(photo: Photo, path: Path, *, overwrite: bool = False) -> None:
    """Write a photo to a file, which appears complete or not at all.

    Raises:
        OutputError: As :func:`encode_photo`, or ``path`` exists and ``overwrite`` is false, or it cannot be written.
    """
    data = encode_photo(photo, path)
    with write_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
