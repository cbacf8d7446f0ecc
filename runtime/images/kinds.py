"""Recognise files by their content: HEIC, which needs a package of its own, and kinds that are not read at all.

Most raw files of cameras are TIFFs whose first picture is a small preview, which Pillow would read as the photo.
"""

import re
from typing import IO, Any

from PIL import Image
from wavepaint.errors import EngineError, ImageError
from wavepaint.optional import require

HEIF_SUFFIXES = (".heic", ".heif", ".hif")

_RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip

SKIPPED_SUFFIXES = (*_RAW_SUFFIXES, ".gif", ".jxl", ".psd", ".xcf")
"""Suffixes of pictures that a batch leaves out: they are not read, or not written in the same format (GIF)."""

_RAW = "a camera's raw file. Develop it to a 16-bit TIFF or PNG in a raw converter such as darktable or RawTherapee"
_LAYERS = "Export it as PNG or TIFF, with its layers merged"
_KINDS = tuple(
    (re.compile(start, re.S | re.I), kind)
    for start, kind in (
        (rb"(II\*\0|MM\0\*).{4}CR\x02\0", _RAW),  # CR2; the pixels of other TIFFs may begin there, too
        (rb"IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM|II.{4}HEAPCCDR|.{4}ftypcrx ", _RAW),
        (rb"8BPS", f"a Photoshop document. {_LAYERS}"),
        (rb"gimp xcf", f"a GIMP project. {_LAYERS}"),
        (rb"%PDF-", "a PDF document. Export the page that you want as PNG"),
        (rb"(\xef\xbb\xbf)?\s*<(!doctype )?html\b", "not an image but a web page. Download the photo itself"),
        (rb"(\xef\xbb\xbf)?\s*<.*<svg\b|\s*<svg\b", "an SVG drawing. Export it as PNG"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image. Save it as PNG, for example with: djxl IN OUT.png"),
        (rb"v/1\x01|#\?RADIANCE", "an HDR image of floating-point values. Save it as a 16-bit TIFF or PNG"),
        (rb".{4}ftyp(qt|iso|mp4|M4V|avc1|3gp)", "a video. Save the frame that you want as PNG"),
    )
)

_NEW_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
"""Tags of a TIFF."""


def check_kind(stream: IO[bytes], suffix: str, name: str) -> None:
    """Refuse a file of a kind that is not read, and prepare Pillow to read HEIC.

    Args:
        stream: The file, at its beginning.
        suffix: The suffix of its name; it tells raw files that are TIFFs from other TIFFs.
        name: Name for messages.

    Raises:
        ImageError: The file is of a known kind that is not read, or its package is missing.
    """
    head = stream.read(4096)
    stream.seek(0)
    if _is_heif(head):
        _register_heif(name)
        return
    if b"avif" in head[8:64] and head[4:8] == b"ftyp" and "AVIF" not in Image.OPEN:
        raise ImageError(f"{name} is AVIF, which this installation of Pillow does not read. Save it as PNG.")
    kind = next((kind for start, kind in _KINDS if start.match(head)), "")
    if head.startswith((b"II*\0", b"MM\0*")) and suffix.lower() in _RAW_SUFFIXES:
        kind = _RAW
    if kind:
        raise ImageError(f"{name} is {kind}.")


def check_preview(image: Image.Image, name: str) -> None:
    """Refuse an opened TIFF that is a raw file under another name, because only its preview would be read.

    Raises:
        ImageError: It is one.
    """
    tags: Any = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or (tags.get(_NEW_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags):
        raise ImageError(f"{name} is {_RAW}.")


def _is_heif(head: bytes) -> bool:
    """Return whether a file that begins like this is HEIC, or HEIF with any codec but AVIF's."""
    brand, brands = head[8:12], head[8:64]
    is_general = brand in (b"mif1", b"msf1") and b"avif" not in brands and b"avis" not in brands
    return head[4:8] == b"ftyp" and (is_general or brand[:3] in (b"hei", b"hev"))


def _register_heif(name: str) -> None:
    """Let Pillow open HEIC. pillow_heif turns the pixels upright and removes the orientation from the EXIF."""
    try:
        pillow_heif = require("pillow_heif", extra="heif")
    except EngineError as error:
        raise ImageError(
            f"{name} is a HEIC photo. Save it as PNG or JPEG, or add the package that reads it: {error}"
        ) from error
    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
