"""Strategies: fill a photo at once, in crops around its holes, or in tiles.

``whole``: The engine gets the whole photo at full resolution.

``crop``: The engine gets each hole with its neighbourhood. A hole thicker than the network was trained for is filled at
a lower resolution and scaled up, and so is a crop that does not fit the memory. The detail lost in scaling comes back
from the places where the fill found its texture (:mod:`wavepaint.runtime.filling.detail`).

``tile``: The engine gets each hole with its neighbourhood in overlapping tiles at full resolution, which are blended. A
tile deep in a thick hole would contain no known pixels, so the hole is filled at a lower resolution first, and the
tiles take that fill as known.

``auto``: Crops, or tiles where a crop would lose more than half of its resolution.

A strategy is a generator that yields patches and receives their fills. Its driver decides which patches go into one
call of the engine, and may combine patches of several photos.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from wavepaint.errors import ConfigError
from wavepaint.runtime.filling.canvas import Canvas, Patch
from wavepaint.runtime.filling.detail import CoarseFill
from wavepaint.runtime.filling.memory import Limits
from wavepaint.runtime.filling.morphology import erode
from wavepaint.runtime.filling.regions import Region, find_regions, measure_thickness
from wavepaint.runtime.filling.scale import Float, downscale, to_float
from wavepaint.runtime.filling.tile_grid import TILE_OVERLAP, choose_overlap, cut_tiles, weigh_tile

Strategy = Literal["auto", "whole", "crop", "tile"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

TILE_SIDE = 512
"""Largest side of a tile, in pixels."""

MAX_CROP_PIXELS = 1_500_000
"""Most pixels of a crop, whatever the memory: ``auto`` cuts larger ones into tiles, most of which contain no hole."""

MAX_CROP_FACTOR = 2
"""Above this factor ``auto`` uses tiles: the blur of scaling up starts to show at the hole's edge."""

TILE_BAND = 32
"""Width in pixels of the band along the edge of a thick hole that tiles fill themselves."""

Steps = Generator[list[Patch], list[Float], None]
"""Yields patches and receives their fills, each (H, W, 3) float32 in [0, 1]."""

OnProgress = Callable[[float], object]
"""Called with the share of the work that is done, 0 to 1."""


def fill_canvas(
    canvas: Canvas, strategy: Strategy, limits: Limits, on_progress: OnProgress = lambda share: None
) -> Steps:
    """Fill every hole of a photo.

    Args:
        canvas: The photo.
        strategy: See the module's docstring.
        limits: Limits on one run of the engine.
        on_progress: Called after each call of the engine.

    Raises:
        ConfigError: The strategy is "whole", and the photo is too large for it.
    """
    if strategy == "whole":
        height, width = canvas.hole.shape
        if height * width > limits.max_pixels:
            raise ConfigError(
                f"{width}x{height} pixels are too many for one run: the memory allowed is enough for "
                f"{limits.max_pixels / 1e6:.1f} megapixels. Raise --max-memory, or choose --strategy auto."
            )
        yield from _fill_crops(canvas, [(Region(0, 0, width, height), 1)], limits, _Work(height * width, on_progress))
        return
    limits = replace(limits, max_pixels=min(limits.max_pixels, MAX_CROP_PIXELS))
    crops: list[tuple[Region, int]] = []
    tiled: list[tuple[Region, int]] = []
    for region in find_regions(canvas.hole, limits.multiple, limits.least_region, limits.most_region):
        by_thickness = -(-measure_thickness(canvas.hole[region.slices]) // limits.thickness)
        by_memory = _find_fitting_factor(region, limits)
        factor = max(by_thickness, by_memory, 1)
        needs_tiles = strategy == "tile" or (
            strategy == "auto" and (factor > MAX_CROP_FACTOR or by_memory > max(by_thickness, 1))
        )
        if needs_tiles:
            tiled.append((region, by_thickness))
        else:
            crops.append((region, factor))
    work = _Work(sum(map(_count_pixels, crops)) + sum(region.num_pixels for region, _ in tiled), on_progress)
    yield from _fill_crops(canvas, crops, limits, work)
    for region, by_thickness in tiled:
        yield from _fill_tiles(canvas, region, by_thickness, limits, work)


class _Work:
    """Counts the pixels that are done, and reports their share of all."""

    def __init__(self, num_pixels: float, on_progress: OnProgress) -> None:
        self._num_pixels, self._on_progress, self._done = num_pixels, on_progress, 0.0

    def add(self, num_pixels: float) -> None:
        self._done += num_pixels
        self._on_progress(min(self._done / self._num_pixels, 1.0))


def _count_pixels(crop: tuple[Region, int]) -> float:
    """Return the size of a region that is scaled down by a factor."""
    region, factor = crop
    return region.num_pixels / factor**2


def _find_fitting_factor(region: Region, limits: Limits) -> int:
    """Return the whole factor by which a region must be scaled down to fit into one run."""
    factor = max(int((region.num_pixels / limits.max_pixels) ** 0.5), 1)
    while not limits.allow(-(-region.height // factor), -(-region.width // factor)):
        factor += 1
    return factor


def _fill_crops(canvas: Canvas, crops: list[tuple[Region, int]], limits: Limits, work: _Work) -> Steps:
    """Fill regions, each scaled down by a factor; crops of one size follow each other."""

    def find_size(crop: tuple[Region, int]) -> tuple[int, int]:
        return -(-crop[0].height // crop[1]), -(-crop[0].width // crop[1])

    waiting = sorted(crops, key=find_size)
    while waiting:
        group, num_pixels = [waiting.pop()], 0
        while waiting and len(group) < limits.max_batch:
            num_pixels += math.prod(find_size(group[-1]))
            if num_pixels + math.prod(find_size(waiting[-1])) > limits.max_pixels:
                break
            group.append(waiting.pop())
        patches = [_make_crop(canvas, region, factor) for region, factor in group]
        for (region, factor), patch, fill in zip(group, patches, (yield patches), strict=True):
            _paste_crop(canvas, region, factor, patch, canvas.match_channels(fill))
            work.add(_count_pixels((region, factor)))


def _make_crop(canvas: Canvas, region: Region, factor: int) -> Patch:
    """Return a region as a patch, scaled down by a factor."""
    levels, hole = canvas.source[region.slices], canvas.hole[region.slices]
    return canvas.make_patch(*(downscale(levels, hole, factor) if factor > 1 else (to_float(levels), hole)))


def _paste_crop(canvas: Canvas, region: Region, factor: int, patch: Patch, fill: Float) -> None:
    coarse = _make_coarse_fill(canvas, region, factor, patch, fill) if factor > 1 else None

    def render(window: Region) -> Float:
        inner = window.move(-region.top, -region.left)
        return coarse.render(inner) if coarse is not None else fill[inner.slices]

    canvas.paste(region, render)


def _make_coarse_fill(canvas: Canvas, region: Region, factor: int, patch: Patch, fill: Float) -> CoarseFill:
    return CoarseFill(canvas.source[region.slices], canvas.hole[region.slices], fill, patch.hole, factor)


def _fill_tiles(canvas: Canvas, region: Region, factor: int, limits: Limits, work: _Work) -> Steps:
    """Fill a region in tiles. If ``factor`` is above 1, first fill it at a resolution lower by that factor."""
    coarse: CoarseFill | None = None
    if factor > 1:
        factor = max(factor, _find_fitting_factor(region, limits))
        patch = _make_crop(canvas, region, factor)
        (fill,) = yield [patch]
        coarse = _make_coarse_fill(canvas, region, factor, patch, canvas.match_channels(fill))
    sides = _choose_tile_sides(limits)
    overlaps = choose_overlap(sides[0], limits.multiple), choose_overlap(sides[1], limits.multiple)
    rows = cut_tiles(region.height, region.width, sides, overlaps, limits.multiple)
    share = region.num_pixels / sum(map(len, rows))
    sums = np.zeros((0, region.width, canvas.source.shape[2]), np.float32)
    weights = np.zeros((0, region.width), np.float32)
    for index, row in enumerate(rows):
        top, bottom = row[0].top, row[0].bottom
        # The overlap with the row above is already in them.
        new = ((0, bottom - top - len(sums)), (0, 0))
        sums, weights = np.pad(sums, (*new, (0, 0))), np.pad(weights, new)
        parts = [(tile, *part) for tile in row for part in _cut_tile(canvas, region, tile, coarse, limits)]
        largest = max((window.num_pixels for _, window, _ in parts), default=1)
        at_once = max(min(limits.max_batch, limits.max_pixels // largest), 1)
        for first in range(0, len(parts), at_once):
            group = parts[first : first + at_once]
            for (tile, window, _), fill in zip(group, (yield [patch for *_, patch in group]), strict=True):
                weight = weigh_tile(tile, region.height, region.width, overlaps)[window.slices]
                place = window.move(0, tile.left).slices
                sums[place] += canvas.match_channels(fill) * weight[..., None]
                weights[place] += weight
            work.add(share * len(row) * len(group) / len(parts))
        if not parts:
            work.add(share * len(row))
        done = (rows[index + 1][0].top if index + 1 < len(rows) else bottom) - top
        finished = Region(region.left, region.top + top, region.right, region.top + top + done)
        _paste_rows(canvas, region, finished, sums[:done], weights[:done], coarse)
        sums, weights = sums[done:], weights[done:]


def _choose_tile_sides(limits: Limits) -> tuple[int, int]:
    """Return height and width of tiles: the largest that the engine takes, up to :data:`TILE_SIDE`."""
    enough = max(min(TILE_SIDE, int(limits.max_pixels**0.5)), 2 * TILE_OVERLAP + limits.multiple)

    def choose_side(least: int, most: int) -> int:
        return min(max(enough, least), most) // limits.multiple * limits.multiple

    usable = (sizes for sizes in limits.sizes if sizes.pad(1, 1, limits.multiple))
    tiles = [
        (choose_side(sizes.least[1], sizes.most[1]), choose_side(sizes.least[2], sizes.most[2])) for sizes in usable
    ]
    return max(tiles, key=lambda tile: (limits.allow(*tile), math.prod(tile)))


def _cut_tile(
    canvas: Canvas, region: Region, tile: Region, coarse: CoarseFill | None, limits: Limits
) -> list[tuple[Region, Patch]]:
    """Return the parts of a tile that have something to fill, each as its place in the tile and its patch.

    A part is a hole with its context. Along the edge of a thick hole only a narrow band of the tile is to be filled.
    """
    place = tile.move(region.top, region.left)
    hole = canvas.hole[place.slices]
    if not hole.any():
        return []
    image: Float = to_float(canvas.source[place.slices])
    if coarse is not None:
        height, width = canvas.hole.shape
        above, before = min(place.top, TILE_BAND), min(place.left, TILE_BAND)
        around = canvas.hole[
            place.top - above : min(place.bottom + TILE_BAND, height),
            place.left - before : min(place.right + TILE_BAND, width),
        ]
        deep = erode(around, TILE_BAND)[above : above + place.height, before : before + place.width]
        if deep.any():
            np.copyto(image, np.clip(coarse.render(tile), 0, 1), where=deep[..., None])
            hole = hole & ~deep
    windows = find_regions(hole, limits.multiple, limits.least_region, limits.most_region)
    return [(window, canvas.make_patch(image[window.slices], hole[window.slices])) for window in windows]


def _paste_rows(
    canvas: Canvas, region: Region, rows: Region, sums: Float, weights: Float, coarse: CoarseFill | None
) -> None:
    """Write finished rows of blended tiles; the coarse fill goes where no tile filled, deep in the hole."""

    def render(window: Region) -> Float:
        part = slice(window.top - rows.top, window.bottom - rows.top)
        weight = weights[part][..., None]
        blended = np.divide(sums[part], weight, where=weight > 0, out=np.zeros_like(sums[part]))
        if coarse is None or weight.all():
            return blended
        return np.where(weight > 0, blended, coarse.render(window.move(-region.top, -region.left)))

    canvas.paste(rows, render)
