"""Photos and masks for the race against other programs, made from the photos of a folder with fixed seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

SIZES = {"2mp": (1600, 1200), "12mp": (4000, 3000), "48mp": (8000, 6000)}
"""Width and height of the large photos. They are mosaics, so that they have the detail and the file size of photos."""

HOLES = {"small": 0.03, "medium": 0.1, "large": 0.3}
"""Diameter of the hole of a large photo, as a share of the shorter side."""

SIDE, NUM_SQUARES = 512, 4
_CELL = (800, 600)
_STROKES, _STROKE_WIDTH = 6, 20
_FOLDER_SIZE, _BOXES = (640, 480), 3
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Pair:
    """Paths of a photo and its mask."""

    image: Path
    mask: Path


def list_photos(folder: Path) -> list[Path]:
    """Return the JPEG and PNG files of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def make_squares(photos: Sequence[Path], folder: Path) -> list[Pair]:
    """Make PNG photos of 512x512 pixels. Strokes cross the whole photo, so that every program sees all of it."""
    pairs = []
    for number, path in enumerate(islice(cycle(photos), NUM_SQUARES)):
        pair = Pair(folder / f"{number}.png", folder / f"{number}-mask.png")
        pairs.append(pair)
        if not pair.mask.exists():
            _open_fitted(path, (SIDE, SIDE)).save(pair.image)
            _draw_strokes(number).save(pair.mask)
    return pairs


def make_large_photo(photos: Sequence[Path], folder: Path, size: str, hole: str) -> Pair:
    """Make a JPEG mosaic with one round, uneven hole.

    Args:
        photos: Tiles of the mosaic.
        folder: Where to write the files.
        size: One of :data:`SIZES`.
        hole: One of :data:`HOLES`.
    """
    pair = Pair(folder / f"{size}.jpg", folder / f"{size}-{hole}.png")
    width, height = SIZES[size]
    if not pair.image.exists():
        canvas, tiles = Image.new("RGB", (width, height)), cycle(photos)
        for top in range(0, height, _CELL[1]):
            for left in range(0, width, _CELL[0]):
                canvas.paste(_open_fitted(next(tiles), _CELL), (left, top))
        canvas.save(pair.image, quality=_JPEG_QUALITY)
    if not pair.mask.exists():
        _draw_blob((width, height), HOLES[hole] * height / 2).save(pair.mask)
    return pair


def make_folder(photos: Sequence[Path], folder: Path, number: int) -> tuple[Path, Path]:
    """Make a folder of JPEG photos of 640x480 pixels and one of masks with three boxes each; return both."""
    images, masks = folder / "photos", folder / "masks"
    for one in (images, masks):
        one.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for index, path in enumerate(islice(cycle(photos), number)):
        image = _open_fitted(path, _FOLDER_SIZE)
        image = ImageOps.mirror(image) if index // len(photos) % 2 else image
        image.save(images / f"{index:03}.jpg", quality=_JPEG_QUALITY)
        mask = np.zeros(_FOLDER_SIZE[::-1], np.uint8)
        for _ in range(_BOXES):
            high, wide = generator.integers(32, 97, 2)
            top, left = generator.integers(0, [_FOLDER_SIZE[1] - high, _FOLDER_SIZE[0] - wide])
            mask[top : top + high, left : left + wide] = 255
        Image.fromarray(mask).save(masks / f"{index:03}.png")
    return images, masks


def _open_fitted(path: Path, size: tuple[int, int]) -> Image.Image:
    """Return the photo, scaled and cropped to a size."""
    with Image.open(path) as image:
        return ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), size, Image.Resampling.LANCZOS)


def _draw_strokes(seed: int) -> Image.Image:
    """Draw thick strokes from one edge of the square to the opposite one."""
    generator = np.random.default_rng(seed)
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    for number in range(_STROKES):
        ends = generator.integers(_STROKE_WIDTH, SIDE - _STROKE_WIDTH, 2).tolist()
        points = [(0, ends[0]), (SIDE, ends[1])] if number % 2 else [(ends[0], 0), (ends[1], SIDE)]
        draw.line(points, fill=255, width=_STROKE_WIDTH)
    return mask


def _draw_blob(size: tuple[int, int], radius: float) -> Image.Image:
    """Draw a round hole with an uneven edge in the middle of the first tile right of and below the photo's middle."""
    generator = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = radius * (0.85 + 0.15 * generator.random(angles.size))
    centre = [side // 2 + (tile // 2 if tile * 2 < side else 0) for side, tile in zip(size, _CELL, strict=True)]
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + centre
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in points], fill=255)
    return mask


def iterate_pixels(paths: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of images, (H, W, 3) uint8."""
    for path in paths:
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))
