"""Open and decode a source: a file, bytes, a PIL image or an array. Refuse images that cannot be kept losslessly."""

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from wavepaint.errors import ImageError, printable
from wavepaint.jpeg_scans import check_scans
from wavepaint.runtime.images.arrays import is_levels
from wavepaint.runtime.images.formats import DEEP_GREY, FORMATS, check_depth, find_mode
from wavepaint.runtime.images.kinds import check_kind, check_preview
from wavepaint.runtime.images.metadata import jpeg_options, read_exif, save_options
from wavepaint.runtime.images.photo import ImageSource
from wavepaint.runtime.images.png_rows import lacks_rows, may_lack_rows
from wavepaint.runtime.images.sixteen_bit import add_key_alpha, is_deep_colour, raw_mode, read_deep_colour

_BYTES_PER_PIXEL = 16
"""Bound on the size of a file: twice the size of four 16-bit channels. Pillow decodes images of up to twice
``Image.MAX_IMAGE_PIXELS`` pixels."""

_INHERITED = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Names that the shell gives to files it has opened, as in ``<(command)``."""


@dataclass(frozen=True)
class Decoded:
    """A decoded source, with its pixels in stored order.

    Attributes:
        pixels: A PIL image, or an array (H, W, C).
        mode: The mode to convert the PIL image to, which keeps all of it; None for an array.
        orientation: EXIF orientation, 1 to 8.
        format: Pillow's name of the file format; None without a file.
        save_options: Arguments of Pillow's ``save`` that keep ICC profile, EXIF and resolution.
        jpeg_options: Arguments that keep the quantization of a JPEG.
    """

    pixels: Image.Image | NDArray[Any]
    mode: str | None = None
    orientation: int = 1
    format: str | None = None
    save_options: dict[str, Any] = field(default_factory=dict)
    jpeg_options: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the upright image."""
        if isinstance(self.pixels, np.ndarray):
            height, width, channels = self.pixels.shape
        else:
            (width, height), channels = self.pixels.size, Image.getmodebands(self.mode or "")
        return (width, height, channels) if self.orientation >= 5 else (height, width, channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16 in native byte order. ``pixels`` may have the other order."""
        deep = self.pixels.dtype.itemsize == 2 if isinstance(self.pixels, np.ndarray) else self.mode in DEEP_GREY
        return np.dtype(np.uint16 if deep else np.uint8)


def get_name(source: ImageSource, role: str) -> str:
    """Return the name of a source for messages: its path, or its role."""
    return printable(source) if isinstance(source, str | os.PathLike) else f"the {role}"


def decode(source: ImageSource, role: str, size: tuple[int, int] | None = None) -> Decoded:
    """Decode a source.

    Args:
        source: See :func:`wavepaint.runtime.images.read.read_photo`.
        role: Name for messages of a source that has no path.
        size: Width and height that the source must have, upright or turned. Any other size is refused before decoding.

    Raises:
        ImageError: See :func:`wavepaint.runtime.images.read.read_photo`.
    """
    name = get_name(source, role)
    if isinstance(source, np.ndarray):
        return Decoded(_check_array(source, role))
    if isinstance(source, Image.Image):
        return _decode(source, None, name, size)
    suffix = Path(source).suffix if isinstance(source, str | os.PathLike) else ""
    with _open_stream(source, name, role) as stream, _open_image(stream, suffix, name) as image:
        return _decode(image, stream, name, size)


def _check_array(array: NDArray[Any], role: str) -> NDArray[Any]:
    """Return an array as (H, W, C)."""
    if array.dtype == np.bool_:
        # Pillow's bilevel images give arrays whose true is 255, not 1.
        array = np.where(array.view(np.uint8), np.uint8(255), np.uint8(0))
    channels = array[..., None] if array.ndim == 2 else array
    if not is_levels(channels):
        raise ImageError(
            f"the {role} is an array of shape {array.shape} and dtype {array.dtype}: expected uint8 or uint16 of "
            "(H, W), (H, W, 2), (H, W, 3) or (H, W, 4), or bool (H, W)."
        )
    return channels


@contextmanager
def _open_stream(source: str | os.PathLike[str] | bytes, name: str, role: str) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        if not source:
            raise ImageError(f"{name} is empty.")
        yield io.BytesIO(source)
        return
    if not isinstance(source, str | os.PathLike):
        raise ImageError(f"{name} is of type {type(source).__name__}: expected a path, bytes, a PIL image or an array.")
    path = Path(source)
    with ExitStack() as opened:
        try:
            if path.is_dir():
                raise ImageError(f"{name} is a folder: expected an image file for the {role}.")
            if path.exists() and not path.is_file() and not name.startswith(_INHERITED):
                raise ImageError(f"{name} is a pipe or a device: expected a file. Pipe the data to stdin instead.")
            stream = opened.enter_context(path.open("rb"))
            if not stream.peek(1):
                raise ImageError(f"{name} is empty.")
            file = stream if stream.seekable() else io.BytesIO(stream.read())  # a pipe
            most = _BYTES_PER_PIXEL * 2 * (Image.MAX_IMAGE_PIXELS or 0)
            if 0 < most < file.seek(0, io.SEEK_END):
                raise ImageError(f"{name} has more than {most >> 20} MiB: expected a smaller image file.")
            file.seek(0)
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist.") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise ImageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        yield file


def _open_image(stream: IO[bytes], suffix: str, name: str) -> Image.Image:
    Image.init()
    check_kind(stream, suffix, name)
    try:
        return Image.open(stream, formats=[known for known in FORMATS if known in Image.OPEN])
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise ImageError(
            f"{name} is larger than {limit} megapixels, the most that is decoded. Scale or crop it."
        ) from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise ImageError(
            f"{name} is not an image, is damaged at its start, or is none of {kinds}. Save it as PNG."
        ) from error
    except Exception as error:  # Pillow's plugins raise many kinds on broken files
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name} is damaged or cut off ({reason}).")


def _check_work(image: Image.Image, name: str) -> None:
    """Refuse an image that is not a single picture or would take minutes, before it is decoded.

    Frames are not counted, because that would visit each of them, and a TIFF of a few megabytes can have 200,000.
    """
    # The further frames of an MPO are previews, depth maps or gain maps that cameras add to an ordinary JPEG.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(f"{name} holds several frames or pages: expected one. Save the one you want as a still image.")
    check_scans(image, name)


def sizes_differ(image_size: tuple[int, int], mask_size: tuple[int, int]) -> ImageError:
    """Return the error for an image and a mask whose sizes (width, height) differ."""
    (width, height), (mask_width, mask_height) = image_size, mask_size
    hint = ""
    if (mask_height, mask_width) == (width, height):
        hint = " One of them is turned: draw the mask on the upright photo, as image viewers show it."
    return ImageError(
        f"the image is {width}x{height} pixels and the mask {mask_width}x{mask_height}; they must be equal."
        f"{hint} --resize-mask fits the mask to the image."
    )


def _decode(image: Image.Image, stream: IO[bytes] | None, name: str, size: tuple[int, int] | None) -> Decoded:
    """Decode an opened image completely, or refuse it."""
    file_format = "JPEG" if image.format == "MPO" else image.format
    try:
        if size is not None and sorted(size) != sorted(image.size):
            raise sizes_differ(size, image.size)
        check_preview(image, name)
        _check_work(image, name)
        check_depth(image, stream, name)
        pixels, mode = _load(image, name)
        if stream is not None and image.format == "PNG" and may_lack_rows(image) and lacks_rows(stream):
            raise ValueError("its pixels end before the last row")
        orientation, exif = read_exif(image, name)
        return Decoded(
            pixels=pixels,
            mode=mode,
            orientation=orientation,
            format=file_format,
            save_options=save_options(image, exif, name),
            jpeg_options=jpeg_options(image),
        )
    except ImageError:
        raise
    except MemoryError as error:
        width, height = image.size
        raise ImageError(f"{name} ({width}x{height} pixels) does not fit into memory. Scale or crop it.") from error
    except Exception as error:  # Pillow's plugins raise many kinds on broken files
        raise _damaged(name, error) from error


def _load(image: Image.Image, name: str) -> tuple[Image.Image | NDArray[Any], str | None]:
    """Decode an opened image; return its pixels and, for a PIL image, the mode that keeps all of it."""
    raw, key = raw_mode(image), image.info.get("transparency")
    if is_deep_colour(image):
        pixels = read_deep_colour(image)
        return (pixels if key is None else add_key_alpha(pixels, key)), None
    image.load()
    if image.mode in DEEP_GREY and key is not None:
        return add_key_alpha(np.asarray(image).astype(np.uint16)[..., None], key), None
    mode = find_mode(image, name)
    if raw in ("L;2", "L;4") and isinstance(key, int):
        # Pillow scales the levels of such a PNG, but not the transparent level.
        image = image.copy()
        image.info["transparency"] = key * 255 // (2 ** int(raw[-1]) - 1)
    return image, mode
