"""Decide which file formats, channels and bit depths are accepted, and which mode keeps a decoded image."""

import re
from typing import IO, Any

from PIL import Image, TiffImagePlugin
from wavepaint.errors import ImageError
from wavepaint.runtime.images.sixteen_bit import raw_mode

FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "WEBP", "BMP", "GIF", "PPM", "TGA", "AVIF", "JPEG2000", "HEIF")
"""Accepted formats, by Pillow's names; HEIF needs the heif extra. Some others run programs (EPS) or lose depth silently
(SGI, DDS)."""

DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", *DEEP_GREY)
_ADVICE = {
    "CMYK": "convert it to RGB with its ICC profile first (a plain conversion would shift every colour)",
    "I": "save it as 8-bit or 16-bit grey first",
    "F": "save it as 8-bit or 16-bit grey first",
}
_HEAD = 65536


def check_depth(image: Image.Image, stream: IO[bytes] | None, name: str) -> None:
    """Refuse a file that Pillow would misread, or silently reduce to 8 bits.

    Args:
        image: An opened image that is not decoded yet.
        stream: Its file; None if unknown.
        name: Name for messages.

    Raises:
        ImageError: The depth cannot be kept.
    """
    reason = _tiff_layout(image) or _hidden_depth(image, stream)
    if re.fullmatch(r"RGBa;16[BLN]", raw_mode(image)):
        reason = "16 bits a channel with alpha multiplied into the colours"
    if reason:
        raise ImageError(f"{name} has {reason}, which cannot be kept. Save it as PNG of 8 or 16 bits a channel.")


def _tiff_layout(image: Image.Image) -> str:
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (0,)))
    if bits == 12:
        return "12 bits a channel"
    if bits == 16 and tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 and image.mode != "I;16":
        return "16 bits a channel and separate channels (planar)"
    if bits == 16 and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        return "16 bits a channel and zero for white"
    return ""


def _hidden_depth(image: Image.Image, stream: IO[bytes] | None) -> str:
    """Describe the depth of a file if Pillow would scale it to 8 bits; else return an empty string."""
    deep = "more than 8 bits a channel"
    if image.format == "HEIF":
        return deep if image.info.get("bit_depth", 8) > 8 else ""
    if image.format == "PPM":
        arguments: Any = getattr(image, "tile", None)
        largest = arguments[0].args[-1] if arguments and isinstance(arguments[0].args, tuple) else 0
        return deep if image.mode == "RGB" and isinstance(largest, int) and largest > 255 else ""
    if stream is None or image.format not in ("AVIF", "JPEG2000") or image.mode in DEEP_GREY:
        return ""
    position = stream.tell()
    stream.seek(0)
    head = stream.read(_HEAD)
    stream.seek(position)
    if image.format == "AVIF":
        # The AV1 configuration: version, profile and level, then the tier and a flag for more than 8 bits.
        found = re.search(rb"av1C\x81.(.)", head, re.S)
        return deep if found and found[1][0] & 0x40 else ""
    # The start and size markers of the codestream, 36 bytes of sizes, the number of channels, and the bits of the first
    # channel minus 1.
    found = re.search(rb"\xff\x4f\xff\x51.{38}(.)", head, re.S)
    return deep if found and found[1][0] & 0x7F > 7 else ""


def find_mode(image: Image.Image, name: str) -> str:
    """Return the mode that keeps a decoded image: palettes become RGB, 1-bit images become grey.

    Raises:
        ImageError: No supported mode keeps it.
    """
    alpha = "A" if "transparency" in image.info else ""
    if image.mode in ("1", "L", "RGB"):
        return image.mode.replace("1", "L") + alpha
    if image.mode in ("P", "PA"):
        return "RGBA" if image.mode == "PA" else "RGB" + alpha
    if image.mode not in _KEPT_MODES:
        advice = _ADVICE.get(image.mode, "convert it to RGB first")
        raise ImageError(f"{name} has the mode {image.mode}, which is not supported: {advice}.")
    return image.mode
