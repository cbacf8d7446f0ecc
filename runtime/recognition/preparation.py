"""Scale photos as the training of a classifier or a segmenter did."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.contract import PadMode, Preprocessing
from wavepaint.runtime.filling.padding import pad_to_multiple

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Prepared(NamedTuple):
    """A network's input.

    Attributes:
        image: (1, 3, H, W) float32 in [0, 1]; the model file normalises it.
        height: Rows of the input that show the photo. Those below are padding.
        width: Columns of the input that show the photo.
    """

    image: NDArray[np.float32]
    height: int
    width: int


def prepare(
    pixels_HW3: NDArray[np.uint8], preprocessing: Preprocessing, size_multiple: int, padding: PadMode
) -> Prepared:
    """Scale a photo (H, W, 3) as its bundle says, or pad it to the size multiple if the bundle names no size."""
    if preprocessing.size is not None:
        pixels_HW3 = scale_photo(Image.fromarray(pixels_HW3), preprocessing.size, preprocessing)
    height, width = pixels_HW3.shape[:2]
    padded = pad_to_multiple(pixels_HW3, size_multiple, padding)
    image = np.ascontiguousarray(padded.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
    return Prepared(image, height, width)


def scale_photo(image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Scale an RGB photo to (height, width): stretched, or its centre, as the preprocessing says."""
    height, width = size
    box = None
    if preprocessing.resize == "crop":
        # The sizes and the rounding of torchvision's Resize and CenterCrop. Only the part that remains is computed,
        # because the whole of a very long photo would not fit into memory.
        scale = max(width / image.width, height / image.height)
        whole_width, whole_height = max(width, int(image.width * scale)), max(height, int(image.height * scale))
        left, top = round((whole_width - width) / 2), round((whole_height - height) / 2)
        x, y = image.width / whole_width, image.height / whole_height
        box = (left * x, top * y, min((left + width) * x, image.width), min((top + height) * y, image.height))
    elif (image.height, image.width) == size:
        return np.asarray(image)
    return np.asarray(image.resize((width, height), _FILTERS[preprocessing.interpolation], box=box))
