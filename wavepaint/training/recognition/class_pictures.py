"""Sample pictures of runs with classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wavepaint.data.validation_set import Pixels
from wavepaint.picture_grid import make_grid
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.recognition.segmenter import make_class_overlay

NUM_TILES, NUM_COLUMNS = 12, 4
NUM_SEGMENTED = 6
"""Images in a picture."""

_CAPTION, _GAP, _MIN_WIDTH = 30, 4, 110
"""Pixels: height of a caption of two lines, space between tiles, and width that a caption needs."""
_RIGHT, _WRONG = (0, 110, 0), (190, 0, 0)
_LONGEST = 17
"""Characters of a label that fit the width."""


class Guess(NamedTuple):
    """What a network takes an image for.

    Attributes:
        label: The most probable class.
        probability: Its probability, 0 to 1.
        truth: The class of the image.
    """

    label: str
    probability: float
    truth: str


def _shorten(label: str) -> str:
    """Return a label in the letters of Pillow's own font, cut to the width of a tile."""
    text = label.encode("ascii", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]}.."


def draw_guesses(images: Sequence[Pixels], guesses: Sequence[Guess]) -> Image.Image:
    """Return the images in rows of four. Below each is its predicted class, green if it is right; or else red, with
    the class that it has.
    """
    height, width = images[0].shape[:2]
    tile = max(width, _MIN_WIDTH)
    num_rows = -(-len(images) // NUM_COLUMNS)
    size = (NUM_COLUMNS * (tile + _GAP) - _GAP, num_rows * (height + _CAPTION))
    canvas = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    for index, (image, guess) in enumerate(zip(images, guesses, strict=True)):
        row, column = divmod(index, NUM_COLUMNS)
        left, top = column * (tile + _GAP), row * (height + _CAPTION)
        canvas.paste(Image.fromarray(image), (left, top))
        is_right = guess.label == guess.truth
        text = f"{_shorten(guess.label)}\n{guess.probability:.0%}"
        if not is_right:
            text += f", is {_shorten(guess.truth)}"
        draw.multiline_text((left, top + height + 1), text, fill=_RIGHT if is_right else _WRONG, spacing=1)
    return canvas


def draw_label_maps(rows: Sequence[tuple[Pixels, NDArray[Any], NDArray[Any]]]) -> Image.Image:
    """Return a picture with a row for each image: the image, its labels and the predicted classes, as overlays."""
    cells = [
        (image, *(make_class_overlay(Photo(pixels=image), classes.astype(np.uint16)) for classes in maps))
        for image, *maps in rows
    ]
    return make_grid(cells, ("image", "labels", "predicted"))
