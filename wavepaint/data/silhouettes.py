"""Holes in the shape of objects, from a folder of cut-outs.

LaMa's authors move and scale the masks of segmented objects for their test sets (arXiv 2109.07161, section 4). Here
the user provides the objects.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from wavepaint.data.folders import SUFFIXES, find_files
from wavepaint.errors import ConfigError, TrainingError

MAX_SIDE = 512
"""Pixels; larger cut-outs are scaled down, because holes are not larger."""
MAX_CACHED = 256
MAX_OBJECTS = 2
OBJECT_SHARES = (1 / 4, 3 / 4)
"""Longer side of an object as a share of the image's shorter side."""
MAX_ROTATION = 30.0
"""Degrees in either direction. Most objects rarely appear upside down."""
NUM_PROBED = 16


def read_silhouette(path: Path) -> Image.Image:
    """Return the shape of an object, cropped to its bounds: mode L, 0 and 255, at most 512 pixels per side.

    The alpha channel marks the object if the picture has transparent pixels; otherwise its brightness does (white on
    black).

    Raises:
        TrainingError: The file cannot be decoded, or is empty or completely filled.
    """
    try:
        with Image.open(path) as image:
            shape = image.convert("RGBA").getchannel("A") if image.has_transparency_data else image.convert("L")
            if shape.getextrema() == (255, 255):  # the alpha channel is opaque everywhere
                shape = image.convert("L")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise TrainingError(f"the cut-out {path} cannot be decoded ({error}): remove or replace it.") from error
    shape = shape.point(lambda level: 255 if level >= 128 else 0)
    box = shape.getbbox()
    if box is None or shape.getextrema() == (255, 255):
        raise TrainingError(
            f"the cut-out {path} shows no object: expected one with transparent pixels around it, or white on black."
        )
    shape = shape.crop(box)
    shape.thumbnail((MAX_SIDE, MAX_SIDE))
    return shape


class SilhouetteFolder:
    """The cut-outs below a folder. Each process caches a few hundred.

    Raises:
        ConfigError: The folder is missing or contains no image.
        TrainingError: One of the first 16 cut-outs is broken.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder: expected a folder of cut-outs (--silhouettes).")
        self.paths = sorted(folder / name for name in find_files(folder) if Path(name).suffix.lower() in SUFFIXES)
        if not self.paths:
            raise ConfigError(f"{folder} contains no cut-outs: expected PNGs of one object each (--silhouettes).")
        self._cache: OrderedDict[int, Image.Image] = OrderedDict()
        for index in range(min(len(self.paths), NUM_PROBED)):
            self._load(index)

    def _load(self, index: int) -> Image.Image:
        shape = self._cache.pop(index, None) or read_silhouette(self.paths[index])
        self._cache[index] = shape
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return shape

    def draw(self, draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
        """Draw 1 or 2 objects, scaled, mirrored and rotated, with their centres inside the image of (width, height)."""
        for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
            shape = self._load(int(rng.integers(len(self.paths))))
            factor = rng.uniform(*OBJECT_SHARES) * min(size) / max(shape.size)
            if rng.random() < 0.5:
                shape = shape.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            shape = shape.resize((max(round(shape.width * factor), 1), max(round(shape.height * factor), 1)))
            shape = shape.rotate(rng.uniform(-MAX_ROTATION, MAX_ROTATION), Image.Resampling.BILINEAR, expand=True)
            left, top = (round(rng.uniform(0, extent) - own / 2) for extent, own in zip(size, shape.size, strict=True))
            draw.bitmap((left, top), shape.point(lambda level: 255 if level >= 128 else 0), fill=1)
