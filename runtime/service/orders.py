"""Photos to fill as requests order them: from the bytes of files to the bytes of a file."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image
from wavepaint.errors import ImageError, WavePaintError
from wavepaint.runtime.batch import DecodedPair, Filled, decode_pair, fill_pairs
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.images.encode import check_output, encode_photo
from wavepaint.runtime.images.formats import FORMATS
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.service.request_errors import RequestError, translate
from wavepaint.runtime.service.result_formats import find_media_type, name_output
from wavepaint.runtime.service.service_settings import MEGAPIXEL


@dataclass(frozen=True)
class Order:
    """A photo to fill.

    Attributes:
        image: The photo's file.
        mask: The mask's file; the very object ``image`` if the photo's alpha is the mask.
        options: How to fill it.
        suffix: Suffix of the result's format; None keeps the photo's format.
        size: Width and height of the photo in pixels, before its EXIF orientation; None if its header is damaged.
    """

    image: bytes
    mask: bytes
    options: FillOptions
    suffix: str | None = None
    size: tuple[int, int] | None = None

    @property
    def num_pixels(self) -> int:
        """Pixels of the photo; 0 if its header is damaged."""
        return self.size[0] * self.size[1] if self.size else 0


@dataclass(frozen=True)
class Answer:
    """A filled photo.

    Attributes:
        data: The result's file.
        media_type: Its media type.
        size: Width and height in pixels.
        hole: Share of the photo that the mask marks, 0 to 1.
        engine: Human-readable engine and version.
        precision: Arithmetic precision.
        seconds: Time of each phase. Photos that were filled together have the same times of the whole group.
    """

    data: bytes
    media_type: str
    size: tuple[int, int]
    hole: float
    engine: str
    precision: str
    seconds: dict[str, float] = field(default_factory=dict)


class DroppedError(Exception):
    """Nobody waits for the answers any more."""


def make_order(
    image: bytes | None, mask: bytes | None, options: FillOptions, suffix: str | None, max_pixels: int
) -> Order:
    """Return an order, after a look at the headers of its files.

    Raises:
        RequestError: A file is missing or has too many pixels.
    """
    if image is None:
        raise RequestError(400, "the field image is missing: expected a photo.", "missing_field", param="image")
    if mask is None and options.mask_from != "alpha":
        raise RequestError(
            400,
            "the field mask is missing: expected a file that is white in the hole. With mask_from=alpha the image's "
            "own transparent pixels are the hole.",
            "missing_field",
            param="mask",
        )
    size = _read_size(image, "image", max_pixels)
    if mask is not None:
        _read_size(mask, "mask", max_pixels)
    return Order(image, image if mask is None else mask, options, suffix, size)


def _read_size(file: bytes, role: str, max_pixels: int) -> tuple[int, int] | None:
    """Return the size of an image from its header; None for a damaged one, which the decoder explains.

    Raises:
        RequestError: There are too many.
    """
    try:
        with Image.open(io.BytesIO(file), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise _refuse_pixels(role, f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)}", max_pixels) from None
    except Exception:  # Pillow's plugins raise many kinds on broken files
        return None
    if width * height > max_pixels:
        raise _refuse_pixels(role, f"{width}x{height}", max_pixels)
    return width, height


def _refuse_pixels(role: str, pixels: str, max_pixels: int) -> RequestError:
    expected = f"expected {max_pixels / MEGAPIXEL:g} megapixels or fewer"
    message = f"the {role} has {pixels} pixels: {expected}. Scale or crop it."
    return RequestError(413, message, f"{role}_too_large", param=role)


def fill_orders(
    inpainter: Inpainter, orders: Sequence[Order], check: Callable[[], None] = lambda: None
) -> list[Answer | RequestError]:
    """Fill photos in one call of the model. A photo that fails does not affect the others.

    Args:
        inpainter: The model.
        orders: The photos, all with the same options.
        check: Called now and then; it raises :class:`DroppedError` if the work may stop.
    """
    check()
    options = orders[0].options
    started = time.perf_counter()
    decoded = [_decode(order) for order in orders]
    check()
    decoded_at = time.perf_counter()
    filled = fill_pairs(inpainter, decoded, options, lambda phase, share: check())
    check()
    seconds = {"decode": decoded_at - started, "fill": time.perf_counter() - decoded_at}
    return [
        _encode(inpainter, order, source, result, seconds)
        for order, source, result in zip(orders, decoded, filled, strict=True)
    ]


def _decode(order: Order) -> DecodedPair:
    """Return the photo and its mask, or the error; also if the result's format cannot hold the photo."""

    def check(photo: Photo) -> None:
        if order.mask is order.image and not photo.has_alpha:
            raise ImageError(
                "the image has no transparent pixels to fill: send a mask as well, or make transparent what is to be "
                "filled."
            )
        check_output(photo, name_output(photo, order.suffix))

    return decode_pair(order.image, order.mask, order.options, check)


def _encode(
    inpainter: Inpainter, order: Order, source: DecodedPair, filled: Filled, seconds: dict[str, float]
) -> Answer | RequestError:
    if isinstance(source, WavePaintError):
        return translate(source)
    if isinstance(filled, WavePaintError):
        return translate(filled)
    started, output = time.perf_counter(), name_output(filled, order.suffix)
    try:
        data = encode_photo(filled, output)
    except WavePaintError as error:
        return translate(error)
    return Answer(
        data,
        find_media_type(output),
        filled.size,
        float(source[1].hole.mean()),
        inpainter.engine.removesuffix(f" {inpainter.precision}"),
        inpainter.precision,
        {**seconds, "encode": time.perf_counter() - started},
    )
