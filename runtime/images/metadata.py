"""Read the metadata that is written again with the result: EXIF, ICC profile, resolution, JPEG quantization."""

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin
from PIL.JpegImagePlugin import get_sampling
from wavepaint.errors import WavePaintWarning

_LOSSLESS_TIFF = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
# Tags of a TIFF that describe the layout of its own pixels; the other tags describe the picture.
_LAYOUT_TAGS = frozenset({254, 255, *range(256, 267), 273, *range(277, 282), 284, 317, *range(320, 326), 338, 339, 347})
# Tags of resolution, XMP and ICC profile, which are not copied with the EXIF.
_OWN_TAGS = frozenset({282, 283, 296, 700, 34675})

_SIDES = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)

_SRGB_PRIMARIES = (1, 2)
"""Codes of sRGB's and of unknown primaries (ISO/IEC 23091-2)."""

_SRGB_GAMMA = 0.45455
"""What a PNG in sRGB states as its gamma: 1 / 2.2. Values within 0.02 of it look the same."""

_EMPTY_EXIF_BYTES = 20
"""Size of EXIF without any entry: a header of 6 bytes, one of 8, the number of entries, and the end."""


def read_exif(image: Image.Image, name: str) -> tuple[int, bytes | None]:
    """Return the orientation, 1 to 8, and the EXIF without the orientation.

    Warns:
        WavePaintWarning: The EXIF is broken; it is dropped.
    """
    try:
        found = image.getexif()
        # Pillow turns a TIFF upright while decoding.
        orientation = 1 if image.format == "TIFF" else found.get(ExifTags.Base.Orientation, 1)
        if not len(found):
            if len(image.info.get("exif") or b"") > _EMPTY_EXIF_BYTES:
                raise ValueError("it has no entry that can be read")
            return 1, None
        exif = _copy(found, turned=orientation in range(5, 9))
        dropped = {ExifTags.Base.Orientation} | (_LAYOUT_TAGS | _OWN_TAGS if image.format == "TIFF" else set())
        for tag in dropped & set(exif):
            del exif[tag]
        data = exif.tobytes() if len(exif) else None
    except Exception as error:  # broken EXIF makes its parser raise many kinds
        _warn(f"{name}: its EXIF cannot be read ({error}) and is dropped.")
        return 1, None
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        _warn(f"{name}: its EXIF orientation is {orientation!r}, expected 1 to 8; it is treated as upright.")
        orientation = 1
    return orientation, data


class _Text(str):
    """Text of EXIF as Pillow reads it: its bytes as Latin-1, which Pillow would write as ASCII with question marks."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the bytes that were read; UTF-8 for text that did not come from a file."""
        with contextlib.suppress(UnicodeEncodeError):
            return super().encode("latin-1")
        return super().encode("utf-8")


def _copy(found: Image.Exif, *, turned: bool) -> Image.Exif:
    """Copy EXIF: the PIL image belongs to the caller, and the EXIF of a BigTIFF can be read in no other file.

    Args:
        found: The EXIF of a file.
        turned: Whether the pixels are turned by 90 degrees, so that the recorded width and height swap.
    """
    exif = Image.Exif()
    exif.endian = found.endian
    for tag, value in _keep_text(found).items():
        nested = tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
        exif[tag] = entries = _keep_text(found.get_ifd(tag)) if nested else value
        if nested and ExifTags.IFD.Interop in entries:
            entries[ExifTags.IFD.Interop] = _keep_text(found.get_ifd(ExifTags.IFD.Interop))
        if nested and turned and set(_SIDES) <= set(entries):
            entries |= dict(zip(_SIDES, [entries[side] for side in reversed(_SIDES)], strict=True))
    return exif


def make_tags(exif: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Return EXIF as tags of a TIFF."""
    found = Image.Exif()
    found.load(exif)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in _copy(found, turned=False).items():
        tags[tag] = value
    return tags


def _keep_text(entries: Mapping[int, Any]) -> dict[int, Any]:
    return {tag: _Text(value) if isinstance(value, str) else value for tag, value in entries.items()}


def save_options(image: Image.Image, exif: bytes | None, name: str) -> dict[str, Any]:
    """Return arguments of Pillow's ``save`` that keep EXIF, ICC profile, resolution and a TIFF's compression.

    Warns:
        WavePaintWarning: The ICC profile is broken; it is dropped. Or the file describes its colours in another way.
    """
    if image.info.get("icc_profile", b"") is None:  # Pillow's value for a profile that cannot be unpacked
        _warn(f"{name}: its ICC profile cannot be read and is dropped; colours may look different.")
    coded: Any = image.info.get("nclx_profile")  # of HEIC; phones that need one write an ICC profile instead
    has_primaries = coded and coded.get("color_primaries") not in _SRGB_PRIMARIES
    has_gamma = "srgb" not in image.info and abs(image.info.get("gamma", _SRGB_GAMMA) - _SRGB_GAMMA) > 0.02  # of PNG
    if (has_primaries or has_gamma) and not image.info.get("icc_profile"):
        _warn(f"{name}: its colours are not sRGB, and the result cannot say so; colours may look different.")
    compression = image.info.get("compression")
    options = {
        "icc_profile": image.info.get("icc_profile") or None,
        "dpi": _resolution(image),
        "exif": exif,
        "compression": compression if compression in _LOSSLESS_TIFF else None,
    }
    return {key: value for key, value in options.items() if value is not None}


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    # A broken file may give a resolution that no format can store, or NaN, which fails every comparison.
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def jpeg_options(image: Image.Image) -> dict[str, Any]:
    """Return arguments of Pillow's ``save`` that keep the quantization of a JPEG; nothing for other formats."""
    tables = getattr(image, "quantization", None)
    if image.format not in ("JPEG", "MPO") or not tables:
        return {}
    return {"qtables": tables, "subsampling": get_sampling(image)}


def _warn(message: str) -> None:
    # No stacklevel fits: the distance to the caller of read_photo varies, and in a thread there is no caller.
    warnings.warn(message, WavePaintWarning, stacklevel=3)
