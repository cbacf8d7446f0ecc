"""The class of each pixel of a photo."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.contract import SEGMENTATION
from wavepaint.errors import OutputError
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.previews import as_rgb
from wavepaint.runtime.recognition.class_model import ClassModel
from wavepaint.runtime.recognition.preparation import Prepared

MAX_MAP_CLASSES = 256
"""Largest number of classes in a palette image."""


class Segmenter(ClassModel):
    """Segment photos.

    Example::

        from wavepaint.runtime.recognition.segmenter import Segmenter

        with Segmenter("bundles/streets") as segmenter:
            classes = segmenter.segment("photo.jpg")  # (H, W), numbers of classes
    """

    task = SEGMENTATION

    def segment(self, image: ImageSource) -> NDArray[np.uint16]:
        """Return the number of the class of each pixel, (H, W) with the size of the upright photo.

        The network's logits are scaled to the photo bilinearly before the best class is chosen.

        Args:
            image: A path, an encoded file's bytes, a PIL image or an array. An EXIF orientation is applied.

        Raises:
            ImageError: See :func:`wavepaint.runtime.images.read.read_photo`.
            EngineError: The engine failed, or returned values that are not finite.
        """
        return self.segment_photo(read_photo(image))

    def segment_photo(self, photo: Photo) -> NDArray[np.uint16]:
        """Segment a decoded photo, as :meth:`segment` does after decoding."""
        return choose_classes(*self.run(photo), photo.size)


def choose_classes(logits_Chw: NDArray[np.float32], prepared: Prepared, size: tuple[int, int]) -> NDArray[np.uint16]:
    """Return the number of the best class of each pixel, (H, W).

    Args:
        logits_Chw: Logits of a photo.
        prepared: The input that they come from.
        size: Width and height of the photo, to which the logits are scaled bilinearly.
    """
    rows, columns = logits_Chw.shape[1:]
    height, width = prepared.image.shape[2:]
    box = (0.0, 0.0, columns * prepared.width / width, rows * prepared.height / height)
    classes = np.zeros(size[::-1], np.uint16)
    best: Any = None
    for number, plane in enumerate(logits_Chw):  # class by class, because all at the photo's size need much memory
        scaled = _scale(plane, size, box)
        if best is None:
            best = scaled
            continue
        wins = scaled > best
        classes[wins] = number
        np.maximum(best, scaled, out=best)
    return classes


def _scale(plane_HW: NDArray[np.float32], size: tuple[int, int], box: tuple[float, ...]) -> NDArray[np.float32]:
    """Scale a part of a plane to a width and height."""
    image = Image.fromarray(np.ascontiguousarray(plane_HW, np.float32))
    return np.array(image.resize(size, Image.Resampling.BILINEAR, box=box))  # type: ignore[arg-type]


def make_palette() -> NDArray[np.uint8]:
    """Return 256 colours (256, 3): the colour map of PASCAL VOC, in which near numbers have unlike colours."""
    numbers = np.arange(MAX_MAP_CLASSES)[:, None]
    channels = np.arange(3)
    colours = sum(((numbers >> (3 * bit + channels)) & 1) << (7 - bit) for bit in range(3))
    return np.asarray(colours, np.uint8)


def make_class_map(classes_HW: NDArray[np.uint16]) -> Image.Image:
    """Return a palette image whose pixel values are the numbers of the classes.

    Raises:
        OutputError: A number does not fit a palette image.
    """
    if classes_HW.max() >= MAX_MAP_CLASSES:
        raise OutputError(
            f"class {classes_HW.max()} does not fit a palette image, which has {MAX_MAP_CLASSES} colours. Use "
            "Segmenter.segment, which returns an array."
        )
    image = Image.fromarray(classes_HW.astype(np.uint8))
    image.putpalette(make_palette().tobytes())  # turns the mode from L to P
    return image


def make_class_overlay(photo: Photo, classes_HW: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the photo (H, W, 3), half of it the colours of its classes. Class 0 keeps the photo darkened by half."""
    colours = make_palette()[classes_HW % MAX_MAP_CLASSES]
    return as_rgb(photo) // 2 + colours // 2
