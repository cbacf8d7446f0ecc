"""Sets of photographs and holes on which fills are compared. The same photographs give the same sets in every run.

- ``thin``, ``medium``, ``thick``: LaMa's test sets; ``lama-training``: its training generator
- ``silhouettes``: objects, from a folder of cut-outs, or drawn figures
- ``border``: holes that leave the image: over one side, over a corner, a strip along one side, in turn
- ``lines``: straight edges cross the hole. The edges are found in the photograph, and the hole is put over them.

Holes are drawn for 256 pixels and enlarged for larger sizes, because larger photographs have larger holes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from wavepaint.bench.classical import Pixels
from wavepaint.data.figures import draw_figures
from wavepaint.data.masks import MASK_KINDS, MaskSampler, describe_kind
from wavepaint.data.sources import PhotoSource
from wavepaint.data.validation_set import VAL_SEED, fit_photo, read_photos
from wavepaint.errors import TrainingError
from wavepaint.evaluation.photo_cases import Case
from wavepaint.metrics.lines import MIN_END, Line, find_lines, measure_lines

SETS = (*MASK_KINDS, "lama-training", "silhouettes", "border", "lines")

DRAWN_SIDE = 256
"""Pixels for which holes are drawn."""
SCENES_PER_PHOTO = 3
SCENE_ZOOM = 1.5
"""Largest shorter side of a photograph in which scenes are sought, relative to their side."""
MIN_SCENE_LINE = 1 / 4
"""Length of such an edge as a share of the scene's side."""
SCENE_HOLES = (1 / 8, 1 / 3)
"""Length of the hole along the edge, and its width across it, as shares of the scene's side."""
MAX_TRIED = 24
"""Edges of a photograph that are tried, the longest first."""
BORDER_SHARES = (0.15, 0.45)
"""Depth of a hole at the border as a share of the side."""

DESCRIPTIONS = {
    "border": "holes over one side, over a corner, and strips along one side",
    "lines": "boxes, ellipses and strokes over straight edges that were found in the photographs",
}


def describe_set(name: str, silhouettes: Path | None = None) -> str:
    """Return where the holes of a set come from, for reports."""
    if name == "silhouettes" and silhouettes is None:
        return "drawn people, animals and trees"
    return DESCRIPTIONS.get(name) or describe_kind(name)


def load_set(
    source: PhotoSource,
    name: str,
    *,
    size: int,
    mask_scale: int | None = None,
    limit: int | None = None,
    silhouettes: Path | None = None,
) -> list[Case]:
    """Load a set.

    Args:
        source: The photographs. They are scaled to a shorter side of ``size`` pixels and cropped in the middle; for
            ``lines``, the scenes lie where the edges are.
        name: One of :data:`SETS`.
        size: Side in pixels.
        mask_scale: Factor by which holes are enlarged; None takes ``size / 256``, rounded down.
        limit: Largest number of photographs, spread evenly over the names.
        silhouettes: Folder of cut-outs; None draws figures.

    Raises:
        TrainingError: No photograph can be decoded, or none shows a straight edge (``lines``).
        ConfigError: The folder of cut-outs cannot be used.
    """
    scale = max(size // DRAWN_SIDE, 1) if mask_scale is None else mask_scale
    names = source.names
    count = min(limit or len(names), len(names))
    chosen = [names[index * len(names) // count] for index in range(count)]
    samplers = {} if name in DESCRIPTIONS else _make_sampler(name, silhouettes)
    cases: list[Case] = []
    for index, photo in read_photos(source, chosen):
        rng = np.random.default_rng((VAL_SEED, index))
        if name == "lines":
            cases += [Case(chosen[index], *scene) for scene in _cut_scenes(photo, size, rng)]
            continue
        side = size // scale
        mask = (
            _draw_border_hole(side, index, rng)
            if name == "border"
            else samplers[name](side, side, rng)
            if name in samplers
            else _draw_figures(side, rng)
        )
        cases.append(Case(chosen[index], fit_photo(photo, size), _enlarge(mask, scale, size)))
    if not cases:
        raise TrainingError(f"{source.root} gives no photo for the set {name!r}: give more photos.")
    return cases


def _make_sampler(name: str, silhouettes: Path | None) -> dict[str, MaskSampler]:
    if name == "silhouettes" and silhouettes is None:
        return {}
    return {name: MaskSampler((name,), silhouettes)}


def _enlarge(mask: Pixels, scale: int, size: int) -> Pixels:
    """Enlarge a mask; a rest of the side that the scale leaves is known."""
    large = np.kron(mask, np.ones((scale, scale), np.uint8))
    return np.pad(large, (0, size - large.shape[0]))


def _draw_figures(side: int, rng: np.random.Generator) -> Pixels:
    for _ in range(100):
        canvas = Image.new("L", (side, side))
        draw_figures(ImageDraw.Draw(canvas), canvas.size, rng)
        mask = np.array(canvas, np.uint8)
        if 0 < mask.mean() <= 0.5:
            break
    return mask


def _draw_border_hole(side: int, index: int, rng: np.random.Generator) -> Pixels:
    """Draw a box over one side, a box over a corner, or a strip, in turn; each at a random side."""
    mask = np.zeros((side, side), np.uint8)
    depth, width = np.round(rng.uniform(*BORDER_SHARES, 2) * side).astype(int)
    start = int(rng.integers(side - width + 1))
    columns = (slice(start, start + width), slice(0, width), slice(None))[index % 3]
    mask[:depth, columns] = 1
    return np.ascontiguousarray(np.rot90(mask, int(rng.integers(4))))


def _cut_scenes(photo: Image.Image, size: int, rng: np.random.Generator) -> Iterator[tuple[Pixels, Pixels]]:
    """Yield the scenes of a photograph in which most straight edges cross the hole, and their holes.

    Their middles are at least a third of a side apart.
    """
    shorter = min(max(min(photo.size), size), round(SCENE_ZOOM * size))  # enlarged only as far as the scene needs
    width, height = (max(round(side * shorter / min(photo.size)), size) for side in photo.size)
    pixels = np.asarray(ImageOps.fit(photo, (width, height), Image.Resampling.LANCZOS))
    found: list[tuple[int, int, Pixels, Pixels]] = []
    taken: list[NDArray[np.float64]] = []
    lines = sorted(find_lines(pixels, size * MIN_SCENE_LINE), key=lambda line: -line.length)
    for line in lines[:MAX_TRIED]:
        share = rng.uniform(*SCENE_HOLES)
        middle = (line.start + line.end) / 2
        corner = [int(np.clip(m - size / 2, 0, extent - size)) for m, extent in zip(middle, pixels.shape, strict=False)]
        scene = pixels[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
        mask = _draw_hole_on(line, middle - corner, share * size, size, len(found) % 3, rng)
        if number := measure_lines(scene, scene, mask).num_lines:
            found.append((number, len(found), scene, mask))
            taken.append(middle)
    kept: list[int] = []
    for _, index, scene, mask in sorted(found, key=lambda one: (-one[0], one[1])):
        if all(np.hypot(*(taken[index] - taken[other])) >= size / 3 for other in kept):
            kept.append(index)
            yield scene, mask
        if len(kept) == SCENES_PER_PHOTO:
            break


def _draw_hole_on(
    line: Line, middle: NDArray[np.float64], length: float, size: int, shape: int, rng: np.random.Generator
) -> Pixels:
    """Draw a box, an ellipse or a stroke over a line. It covers ``length`` pixels of it, but leaves both its ends."""
    length = min(length, line.length - 3 * MIN_END)
    across = rng.uniform(*SCENE_HOLES) * size
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    y, x = middle
    # Along the axes, the line may run diagonally through a box, which is then longer than the stretch inside it.
    half_x, half_y = (max(length, across) / 2, across / 2) if abs(line.normal[0]) > 0.7 else (across / 2, length / 2)
    if shape == 2:
        down, right = line.normal * max(across, length)
        draw.line([x - right, y - down, x + right, y + down], fill=1, width=max(round(length), 1))
    else:
        draw_shape = draw.ellipse if shape else draw.rectangle
        draw_shape([x - half_x, y - half_y, x + half_x, y + half_y], fill=1)
    return np.array(canvas, np.uint8)
