"""Decoding and encoding photographs and masks without losing anything on the way.

A :class:`Photo` keeps its pixels in the depth and channels of the file (8-bit grey, RGB, either with alpha, and
16-bit grey) together with what else the file says: format, ICC profile, EXIF (upright after decoding, the
orientation entry removed), resolution and JPEG quantization.
"""

import io
import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import get_sampling
from wavepaint.atomic import write_file
from wavepaint.contract import MASK_THRESHOLD
from wavepaint.errors import ImageError, OutputError, WavePaintWarning

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""What is accepted as an image or a mask: a path, an encoded file's bytes, a PIL image or an array."""

MaskFrom = Literal["luminance", "alpha"]

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", *_DEEP_MODES)
_ADVICE = {
    "CMYK": "convert it to RGB with its ICC profile first (a plain conversion would shift every colour)",
    "YCbCr": "convert it to RGB first",
    "LAB": "convert it to RGB first",
    "HSV": "convert it to RGB first",
    "I": "save it as 8-bit or 16-bit grey first",
    "F": "save it as 8-bit or 16-bit grey first",
}
_LOSSLESS_TIFF = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")


@dataclass(frozen=True)
class Photo:
    """A decoded image and what its file said.

    Attributes:
        pixels: (H, W, C) uint8 with C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); or (H, W, 1) uint16.
        format: Pillow's name of the file format; None if it did not come from a file.
        save_options: Pillow's keywords that keep ICC profile, EXIF and resolution.
        jpeg_options: Those that keep the quantization of a JPEG.
        source: How to name it in messages.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    format: str | None = None
    save_options: dict[str, Any] = field(default_factory=dict)
    jpeg_options: dict[str, Any] = field(default_factory=dict)
    source: str = "image"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def num_colours(self) -> int:
        """Number of colour channels: 1 or 3."""
        return 3 if self.pixels.shape[2] >= 3 else 1

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.pixels.shape[2] in (2, 4)

    def with_pixels(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> "Photo":
        """Return the same photo with other pixels."""
        return replace(self, pixels=pixels)

    def to_pil(self) -> Image.Image:
        """Return a PIL image; its ``info`` and ``format`` are the file's."""
        pixels = self.pixels[..., 0] if self.pixels.shape[2] == 1 else self.pixels
        image = Image.fromarray(np.ascontiguousarray(pixels))
        image.info.update(self.save_options)
        image.format = self.format
        return image


def _name_of(source: ImageSource, role: str) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else f"the {role}"


def _open(source: ImageSource, role: str) -> Image.Image:
    """Open a source of any kind as a fully decoded PIL image."""
    name = _name_of(source, role)
    if isinstance(source, Image.Image):
        return _decode(source, name)
    if isinstance(source, np.ndarray):
        return _image_of_array(source, role)
    if isinstance(source, bytes):
        stream: Any = io.BytesIO(source)
        if not source:
            raise ImageError(f"{name} is empty.")
    elif isinstance(source, str | os.PathLike):
        stream = Path(source)
        try:
            if stream.is_dir():
                raise ImageError(f"{name} is a folder, expected an image file for the {role}.")
            if stream.stat().st_size == 0:
                raise ImageError(f"{name} is empty.")
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist.") from None
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror or error}.") from error
    else:
        raise ImageError(f"{name} is of type {type(source).__name__}: expected a path, bytes, a PIL image or an array.")
    try:
        image = Image.open(stream)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise ImageError(f"{name} is larger than {limit} megapixels and is not decoded. Scale or crop it.") from error
    except PermissionError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image, or of a format that Pillow does not read.") from error
    except Exception as error:  # as in _decode
        raise ImageError(f"{name} is damaged or cut off ({error or type(error).__name__}).") from error
    with image:
        return _decode(image, name)


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Decode an opened image completely, or refuse it.

    Pillow's plugins raise many kinds of exceptions on broken files, so everything they raise is taken for one.
    """
    try:
        num_frames = getattr(image, "n_frames", 1)
        depth = _raw_mode(image)
        image.load()
    except Exception as error:
        raise ImageError(f"{name} is damaged or cut off ({error or type(error).__name__}).") from error
    # The further frames of an MPO are previews, depth or gain maps that cameras add to an ordinary JPEG.
    if num_frames > 1 and image.format != "MPO":
        raise ImageError(f"{name} holds {num_frames} frames or pages. Save the one you want as a still image.")
    if ";16" in depth and image.mode not in _DEEP_MODES:
        raise ImageError(f"{name} has 16 bits in each of several channels; save it with 8, or as 16-bit grey.")
    return image


def _raw_mode(image: Image.Image) -> str:
    """Return the raw mode of a file before decoding, such as ``RGB;16B``, or nothing."""
    tile = getattr(image, "tile", None)
    if not tile:
        return ""
    arguments = tile[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _image_of_array(array: NDArray[Any], role: str) -> Image.Image:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    grey_16 = array.dtype == np.uint16 and array.ndim == 2
    colour_8 = array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (2, 3, 4)))
    if not (grey_16 or colour_8) or 0 in array.shape:
        raise ImageError(
            f"the {role} is an array of shape {array.shape} and dtype {array.dtype}: expected uint8 (H, W), (H, W, 2), "
            "(H, W, 3) or (H, W, 4), uint16 (H, W), or bool (H, W)."
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _turn_upright(image: Image.Image, name: str) -> tuple[Image.Image, bytes | None]:
    """Apply the EXIF orientation; return the image and its EXIF without that entry."""
    try:
        upright = ImageOps.exif_transpose(image)
        exif = upright.getexif()
        exif.pop(ExifTags.Base.Orientation, None)
        return upright, exif.tobytes() if len(exif) else None
    except Exception as error:  # broken EXIF raises whatever its parser stumbles over
        warnings.warn(f"{name}: its EXIF cannot be read ({error}) and is dropped.", WavePaintWarning, stacklevel=3)
        return image, None


def _convert_mode(image: Image.Image, name: str) -> Image.Image:
    """Return an image whose channels and depth can be kept.

    Raises:
        ImageError: There is no way to keep them.
    """
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert(image.mode + "A")
    if image.mode not in _KEPT_MODES:
        advice = _ADVICE.get(image.mode, "convert it to RGB first")
        raise ImageError(f"{name} is of the kind {image.mode}, which is not supported: {advice}.")
    return image


def read_photo(source: ImageSource, role: str = "image") -> Photo:
    """Decode a photograph, upright.

    Palettes become RGB or RGBA, 1-bit images become grey; otherwise depth and channels are kept.

    Args:
        source: A path, an encoded file's bytes, a PIL image or an array.
        role: What to call a source without a name in messages.

    Warns:
        WavePaintWarning: The EXIF is broken; it is dropped.

    Raises:
        ImageError: Missing, broken, animated, too large, or of a colour space or depth that cannot be kept.
    """
    image = _open(source, role)
    name = _name_of(source, role)
    file_format, jpeg_options = image.format, {}
    if file_format in ("JPEG", "MPO"):
        file_format = "JPEG"
        tables = getattr(image, "quantization", None)
        jpeg_options = {"qtables": tables, "subsampling": get_sampling(image)} if tables else {}
    icc, dpi, compression = (image.info.get(key) for key in ("icc_profile", "dpi", "compression"))
    image, exif = _turn_upright(image, name)
    pixels = np.array(_convert_mode(image, name))
    if pixels.dtype.itemsize == 2:
        pixels = pixels.astype(np.uint16)  # files may be of the other byte order
    options = {
        "icc_profile": icc,
        "dpi": dpi,
        "exif": exif,
        "compression": compression if compression in _LOSSLESS_TIFF else None,
    }
    return Photo(
        pixels=pixels[..., None] if pixels.ndim == 2 else pixels,
        format=file_format,
        save_options={key: value for key, value in options.items() if value is not None},
        jpeg_options=jpeg_options,
        source=name,
    )


def read_mask(
    source: ImageSource,
    *,
    invert: bool = False,
    threshold: int = MASK_THRESHOLD,
    mask_from: MaskFrom = "luminance",
) -> NDArray[np.bool_]:
    """Decode a mask, upright: (H, W), true in the hole.

    Args:
        source: The mask.
        invert: Swap hole and known.
        threshold: Levels of 255 from which on a pixel counts as white. A bool array is not thresholded.
        mask_from: ``"luminance"``: white is hole; transparent parts count as black. ``"alpha"``: transparent is hole.

    Raises:
        ImageError: As :func:`read_photo`, or a mask without alpha where its alpha was asked for.
    """
    if not 1 <= threshold <= 255:
        raise ImageError(f"the mask threshold is {threshold}: expected 1 to 255 (--mask-threshold).")
    photo = read_photo(source, role="mask")
    pixels = photo.pixels if photo.pixels.dtype == np.uint8 else (photo.pixels >> 8).astype(np.uint8)
    if mask_from == "alpha":
        if not photo.has_alpha:
            raise ImageError(f"{photo.source} has no alpha channel to take the hole from.")
        hole = pixels[..., -1] < threshold
    else:
        colour = pixels[..., : photo.num_colours].astype(np.uint16)
        level = colour[..., 0] if photo.num_colours == 1 else (colour @ np.array([77, 150, 29], np.uint16)) >> 8
        if photo.has_alpha:
            level = level.astype(np.uint32) * pixels[..., -1] // 255
        hole = level >= threshold
    return ~hole if invert else hole


def to_levels(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round values in [0, 1] to the levels of an unsigned integer type; what lies outside is clipped."""
    return np.round(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def _format_for(path: Path | None, photo: Photo) -> str:
    if path is None or not path.suffix:
        chosen = photo.format or "PNG"
    else:
        extensions = Image.registered_extensions()
        chosen = extensions.get(path.suffix.lower(), "")
        if not chosen:
            raise OutputError(f"{path}: {path.suffix} is not a known image suffix. Use .png, .jpg, .webp or .tif.")
    if chosen == "GIF":
        raise OutputError(f"{path or 'a GIF'}: a GIF holds 256 colours, which would change known pixels. Use .png.")
    if chosen not in Image.SAVE:
        raise OutputError(f"Pillow cannot write {chosen} files. Use .png, .jpg, .webp or .tif.")
    return chosen


def encode_photo(photo: Photo, path: Path | None = None) -> bytes:
    """Encode a photo in the format of ``path``'s suffix, or in its own (PNG if it has none).

    Lossless formats give back every pixel. A photo that was a JPEG keeps its quantization tables as a JPEG.

    Raises:
        OutputError: An unknown format, or one that cannot hold the photo's channels or depth.
    """
    chosen = _format_for(path, photo)
    options = dict(photo.save_options)
    if chosen == "JPEG":
        options |= photo.jpeg_options or {"quality": 95, "subsampling": 0}
    elif chosen == "WEBP":
        # A lossless result costs space and loses nothing; whether the source was lossy is not known.
        options |= {"lossless": True, "exact": True}
    if chosen not in ("TIFF",):
        options.pop("compression", None)
    image = photo.to_pil()
    stream = io.BytesIO()
    try:
        image.save(stream, chosen, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(
            f"{path or 'the result'} cannot be written as {chosen}: {reason}. PNG can hold it: use a name in .png."
        ) from error
    return stream.getvalue()


def write_photo(photo: Photo, path: Path, *, overwrite: bool = False) -> None:
    """Encode a photo into a file, which appears whole or not at all.

    Raises:
        OutputError: As :func:`encode_photo`, or ``path`` exists and ``overwrite`` is false, or it cannot be written.
    """
    data = encode_photo(photo, path)
    with write_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
