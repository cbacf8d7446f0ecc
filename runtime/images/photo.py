"""The decoded photo: pixels in the depth and channels of the file, and the file's metadata."""

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.arguments import check_type
from wavepaint.errors import ImageError
from wavepaint.runtime.images.arrays import Levels, is_levels

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""Accepted as an image or a mask: a path, the bytes of an encoded file, a PIL image or an array."""


@dataclass(frozen=True)
class Photo:
    """A decoded, upright image and the metadata of its file.

    Attributes:
        pixels: (H, W, C) uint8 or uint16 with C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
        format: Pillow's name of the file format; None without a file.
        save_options: Arguments of Pillow's ``save`` that keep ICC profile, EXIF and resolution.
        jpeg_options: Arguments that keep the quantization of a JPEG.
        source: Name for messages.

    Raises:
        ConfigError: ``pixels`` is no array.
        ImageError: ``pixels`` has another shape or dtype.
    """

    pixels: Levels
    format: str | None = None
    save_options: dict[str, Any] = field(default_factory=dict)
    jpeg_options: dict[str, Any] = field(default_factory=dict)
    source: str = "image"

    def __post_init__(self) -> None:
        check_type("pixels", self.pixels, np.ndarray, "an array, as read_photo returns it in a Photo")
        if not is_levels(self.pixels):
            raise ImageError(
                f"the photo's pixels are an array of shape {self.pixels.shape} and dtype {self.pixels.dtype}: expected "
                "uint8 or uint16 of (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4). read_photo makes a Photo from any "
                "image."
            )

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

    @property
    def is_deep_colour(self) -> bool:
        """Whether it has several channels of 16 bits each, which no PIL image can hold."""
        return self.pixels.dtype == np.uint16 and self.pixels.shape[2] > 1

    def check_pil(self) -> None:
        """Refuse a photo that a PIL image cannot hold.

        Raises:
            ImageError: The photo has several channels of 16 bits each.
        """
        if self.is_deep_colour:
            raise ImageError(
                f"{self.source} has 16 bits in each of {self.pixels.shape[2]} channels, which a PIL image cannot hold. "
                "Use arrays (Inpainter.fill_array), or write a Photo to .png or .tif with write_photo."
            )

    def to_pil(self) -> Image.Image:
        """Return a PIL image with the ``info`` and ``format`` of the file.

        Raises:
            ImageError: See :meth:`check_pil`.
        """
        self.check_pil()
        pixels = self.pixels[..., 0] if self.pixels.shape[2] == 1 else self.pixels
        image = Image.fromarray(np.ascontiguousarray(pixels))
        image.info.update(self.save_options)
        image.format = self.format
        return image
