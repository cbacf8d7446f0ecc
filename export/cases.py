"""Inputs for verification: sizes, batches, kinds of mask, extremes, photographs. Needs only numpy and Pillow."""

from collections.abc import Iterator

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from wavepaint.contract import IMAGE_CHANNELS, assets_folder
from wavepaint.runtime.sizes import pad_side

Image = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Case = tuple[str, Image, Image]
ImageCase = tuple[str, Image]
AnyCase = tuple[str, *tuple[Image, ...]]
"""A name and a task's inputs."""
ByteCase = tuple[str, Bytes, Bytes]

VERIFICATION_PHOTOS = assets_folder() / "verification"


def verification_cases(size_multiple: int, seed: int = 0) -> list[Case]:
    """Return (name, image (N, 3, H, W), mask (N, 1, H, W)) over sizes, batches and kinds of mask, float32.

    Sizes are the smallest allowed one, non-square ones, and 96 to 256 pixels. Images are noise, gradients, black,
    white, and the two photographs that ship with the package.
    """
    rng = np.random.default_rng(seed)
    m = size_multiple
    cases: list[Case] = []
    for batch, height, width in ((1, m, m), (1, 4 * m, 7 * m), (2, 5 * m, 3 * m), (3, 2 * m, 2 * m)):
        image = rng.random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32)
        mask = (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)
        cases.append((f"noise {batch}x{width}x{height}", image, mask))
    side = pad_side(96, m)
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    gradient = np.stack(
        [np.broadcast_to(ramp, (side, side)), np.broadcast_to(ramp[:, None], (side, side)), np.outer(ramp, ramp)]
    )[None].astype(np.float32)
    box = np.zeros((1, 1, side, side), dtype=np.float32)
    box[..., side // 4 : side // 2, side // 3 : -side // 3] = 1
    cases.append((f"gradient, box hole {side}x{side}", gradient, box))
    cases.append((f"black, box hole {side}x{side}", np.zeros_like(gradient), box))
    cases.append((f"white, hole all but a corner {side}x{side}", np.ones_like(gradient), _all_but_corner(box)))
    cases.append((f"gradient, nothing to fill {side}x{side}", gradient, np.zeros_like(box)))
    for name, photo in _photos(pad_side(256, m), side):
        side = len(photo)
        pixels = np.ascontiguousarray(photo.transpose(2, 0, 1))[None].astype(np.float32) / np.float32(255)
        cases.append((f"{name}, strokes {side}x{side}", pixels, _strokes(side)[None, None].astype(np.float32)))
    return cases


def image_cases(size_multiple: int) -> list[ImageCase]:
    """Return (name, image (N, 3, H, W)) of :func:`verification_cases`, each image once."""
    cases: dict[bytes, ImageCase] = {}
    for name, image, _ in verification_cases(size_multiple):
        batch, _, height, width = image.shape
        title = f"{name.split()[0].rstrip(',')} {batch}x{width}x{height}"
        cases.setdefault(image.tobytes(), (title, image))
    return list(cases.values())


def byte_cases(size_multiple: int, seed: int = 0) -> list[ByteCase]:
    """Return (name, image (N, H, W, 3), mask (N, H, W, 1)), uint8, of any size, with masks of all levels."""
    rng = np.random.default_rng(seed)
    m = size_multiple
    cases: list[ByteCase] = []
    for batch, height, width in ((1, 1, 1), (2, m + 1, 2 * m), (1, 3 * m - 1, 5 * m + 3), (3, 2 * m, 4 * m)):
        image = rng.integers(0, 256, (batch, height, width, IMAGE_CHANNELS), dtype=np.uint8)
        mask = rng.integers(0, 256, (batch, height, width, 1), dtype=np.uint8)
        cases.append((f"noise {batch}x{width}x{height}", image, mask))
    side = 250
    for name, photo in _photos(side, side):
        mask = _strokes(side)[None, ..., None].astype(np.uint8) * np.uint8(255)
        cases.append((f"{name}, strokes {side}x{side}", photo[None], mask))
    return cases


def _photos(*sides: int) -> Iterator[tuple[str, Bytes]]:
    """Yield a photograph for each side in pixels, scaled to a square."""
    for path, side in zip(sorted(VERIFICATION_PHOTOS.glob("*.jpg")), sides, strict=True):
        with PIL.Image.open(path) as photo:
            yield path.stem, np.asarray(photo.convert("RGB").resize((side, side)))


def _strokes(side: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:side, :side]
    strokes: NDArray[np.bool_] = ((rows + 2 * columns) % 97 < 12) & (rows > side // 8) & (columns < side - side // 8)
    return strokes


def _all_but_corner(mask: Image) -> Image:
    full = np.ones_like(mask)
    full[..., :8, :8] = 0
    return full
