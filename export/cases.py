"""Inputs for verification: sizes, batches, kinds of mask, extremes, photographs. Needs only numpy and Pillow."""

from collections.abc import Iterator

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from wavepaint.contract import IMAGE_CHANNELS, SizeLimits, assets_folder
from wavepaint.runtime.sizes import SizeRange

Image = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Case = tuple[str, Image, Image]
ImageCase = tuple[str, Image]
AnyCase = tuple[str, *tuple[Image, ...]]
"""A name and a task's inputs."""
ByteCase = tuple[str, Bytes, Bytes]

VERIFICATION_PHOTOS = assets_folder() / "verification"


def verification_cases(size_multiple: int, seed: int = 0, limits: SizeLimits | None = None) -> list[Case]:
    """Return (name, image (N, 3, H, W), mask (N, 1, H, W)) over sizes, batches and kinds of mask, float32.

    Sizes are the smallest allowed one, non-square ones, and 96 to 256 pixels. Images are noise, gradients, black,
    white, and the two photographs that ship with the package. A network that does not take a size gets the nearest one
    within its limits.
    """
    rng = np.random.default_rng(seed)
    m, sizes = size_multiple, SizeRange.from_limits(limits)
    cases: list[Case] = []
    wanted = ((1, m, m), (1, 4 * m, 7 * m), (2, 5 * m, 3 * m), (3, 2 * m, 2 * m))
    for batch, height, width in dict.fromkeys(sizes.clamp(size, m) for size in wanted):
        image = rng.random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32)
        mask = (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)
        cases.append((f"noise {batch}x{width}x{height}", image, mask))
    batch, height, width = sizes.clamp((1, 96, 96), m)
    across, down = (np.linspace(0, 1, side, dtype=np.float32) for side in (width, height))
    ramps = (np.broadcast_arrays(across, down[:, None])[0], np.broadcast_arrays(down[:, None], across)[0])
    gradient = np.repeat(np.stack([*ramps, np.outer(down, across)])[None], batch, axis=0)
    box = np.zeros((batch, 1, height, width), dtype=np.float32)
    box[..., height // 4 : height // 2, width // 3 : -width // 3] = 1
    cases.append((f"gradient, box hole {width}x{height}", gradient, box))
    cases.append((f"black, box hole {width}x{height}", np.zeros_like(gradient), box))
    cases.append((f"white, hole all but a corner {width}x{height}", np.ones_like(gradient), _all_but_corner(box)))
    cases.append((f"gradient, nothing to fill {width}x{height}", gradient, np.zeros_like(box)))
    for name, photo in _photos(sizes.clamp((1, 256, 256), m)[1:], (height, width)):
        height, width = photo.shape[:2]
        pixels = np.ascontiguousarray(photo.transpose(2, 0, 1))[None].astype(np.float32) / np.float32(255)
        image, mask = (np.repeat(one, batch, axis=0) for one in (pixels, _strokes(height, width)[None, None]))
        cases.append((f"{name}, strokes {width}x{height}", image, mask.astype(np.float32)))
    return cases


def image_cases(size_multiple: int, limits: SizeLimits | None = None) -> list[ImageCase]:
    """Return (name, image (N, 3, H, W)) of :func:`verification_cases`, each image once."""
    cases: dict[bytes, ImageCase] = {}
    for name, image, _ in verification_cases(size_multiple, limits=limits):
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
    for name, photo in _photos((side, side), (side, side)):
        mask = _strokes(side, side)[None, ..., None].astype(np.uint8) * np.uint8(255)
        cases.append((f"{name}, strokes {side}x{side}", photo[None], mask))
    return cases


def _photos(*sizes: tuple[int, ...]) -> Iterator[tuple[str, Bytes]]:
    """Yield a photograph for each height and width in pixels, scaled to them."""
    for path, (height, width) in zip(sorted(VERIFICATION_PHOTOS.glob("*.jpg")), sizes, strict=True):
        with PIL.Image.open(path) as photo:
            yield path.stem, np.asarray(photo.convert("RGB").resize((width, height)))


def _strokes(height: int, width: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:height, :width]
    is_inside = (rows > height // 8) & (columns < width - width // 8)
    strokes: NDArray[np.bool_] = ((rows + 2 * columns) % 97 < 12) & is_inside
    return strokes


def _all_but_corner(mask: Image) -> Image:
    full = np.ones_like(mask)
    full[..., :8, :8] = 0
    return full
