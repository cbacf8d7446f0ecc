"""How the holes of a photograph are filled: at once, in crops, or in tiles.

``whole``: the whole photo passes the engine at its full resolution.

``crop``: every hole passes with its neighbourhood. A hole thicker than the network was trained for is filled at a
lower resolution and scaled up, and so is a crop that memory does not hold. What that loses of detail comes back from
where the fill has its texture from (:mod:`wavepaint.runtime.filling.detail`).

``tile``: the neighbourhood of every hole passes in overlapping tiles at full resolution, which are blended. What lies
deep in a hole thicker than the network was trained for has nothing known within a tile; it is filled first, at a lower
resolution, and is known to the tiles.

``auto``: crops; tiles where a crop would lose more than half of its resolution.

A strategy is a generator: it yields patches that are to be run and is sent their fills. So whoever drives it decides
what goes into one call of the engine, patches of several photographs as well.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from wavepaint.errors import ConfigError
from wavepaint.runtime.filling.detail import CoarseFill
from wavepaint.runtime.filling.regions import (
    TILE_OVERLAP,
    Region,
    cut_tiles,
    find_regions,
    measure_thickness,
    weigh_tile,
)
from wavepaint.runtime.filling.scale import (
    Bool,
    Float,
    Levels,
    downscale,
    erode,
    soften_edge,
    to_float,
)
from wavepaint.runtime.images.arrays import quantize, slice_rows
from wavepaint.runtime.sizes import SizeRange

Strategy = Literal["auto", "whole", "crop", "tile"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

TILE_SIDE = 512

MIN_PIXELS = 384 * 384
"""Pixels an engine must be able to take at once: those of a tile, whose side is twice the overlap and some more."""

MAX_CROP_PIXELS = 1_500_000
"""Most pixels of a crop, whatever the memory: ``auto`` cuts what is larger into tiles, most of which hold no hole."""

MAX_CROP_FACTOR = 2
"""From a larger reduction on, ``auto`` takes tiles: the blur of scaling up begins to show at the hole's edge."""

TILE_BAND = 32
"""How far from what is known tiles fill a thick hole themselves, in pixels."""


class Patch(NamedTuple):
    """What is to pass the engine: (H, W, 3) float32 in [0, 1], and (H, W), true in the hole."""

    image: Float
    hole: Bool


Steps = Generator[list[Patch], list[Float], None]
"""Yields patches, is sent their fills, (H, W, 3) float32 in [0, 1] each."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a model and a machine can take.

    Attributes:
        max_pixels: In one call of the engine, batch included; at least :data:`MIN_PIXELS`.
        max_batch: Patches in one call.
        thickness: Side of the largest square hole that the network was trained to fill, in pixels.
        multiple: The model's size multiple.
        sizes: Ranges of sizes that the engine takes; at least one holds a size whose sides are multiples.
    """

    max_pixels: int
    max_batch: int
    thickness: int
    multiple: int
    sizes: tuple[SizeRange, ...] = (SizeRange(),)

    def hold(self, height: int, width: int) -> bool:
        """Whether a patch may pass by itself. The engine's smallest run passes whatever the memory."""
        _, num_pixels = self._smallest_run(1, 1)
        size, needed = self._smallest_run(height, width)
        return size is not None and needed <= max(self.max_pixels, num_pixels)

    def pad(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the sides to which a patch is padded; None if it is larger than what the engine takes."""
        return self._smallest_run(height, width)[0]

    def _smallest_run(self, height: int, width: int) -> tuple[tuple[int, int] | None, int]:
        """Return the padded sides of the smallest run that holds a patch, and its pixels without those of padding to
        multiples."""
        runs = [
            (sizes.least[0] * max(height, sizes.least[1]) * max(width, sizes.least[2]), padded)
            for sizes in self.sizes
            if (padded := sizes.pad(height, width, self.multiple))
        ]
        num_pixels, padded = min(runs, default=(0, None))
        return padded, num_pixels

    def choose_batch(self, wanted: int, height: int, width: int) -> int:
        """Return how many patches of a padded size are to be run at once.

        Args:
            wanted: How many there are.
            height: Of each, as :meth:`pad` returned it.
            width: Likewise.

        Returns:
            As many as memory and engine take; more than wanted only where the engine takes no fewer.
        """
        allowed = max(min(wanted, self.max_batch, self.max_pixels // (height * width)), 1)
        ranges = [
            (sizes.least[0], sizes.most[0]) for sizes in self.sizes if sizes.contains((sizes.least[0], height, width))
        ]
        fitting = [min(allowed, most) for least, most in ranges if least <= allowed]
        return max(fitting) if fitting else min(least for least, _ in ranges)


@dataclass(frozen=True)
class Canvas:
    """A photograph being filled.

    Attributes:
        source: (H, W, 1 or 3) uint8 or uint16, never written.
        result: The same pixels; those in the hole are written.
        hole: (H, W), true where the fill goes.
        valid: (H, W), true where the source is what it should be: outside the hole, and where it was only grown.
        feather: Pixels over which the fill leads over into what is valid, within the hole.
    """

    source: Levels
    result: Levels
    hole: Bool
    valid: Bool
    feather: int = 0

    def paste(self, region: Region, fill: Callable[[Region], Float]) -> None:
        """Write a fill into the hole, strip by strip.

        Args:
            region: Where.
            fill: Returns the fill of a window, in pixels of the photo, (H, W, 1 or 3) float32 in [0, 1].
        """
        for rows in slice_rows((region.height, region.width)):
            window = Region(region.left, region.top + rows.start, region.right, region.top + rows.stop)
            hole = self.hole[window.slices]
            if hole.any():
                values = fill(window)
                if self.feather:
                    values = soften_edge(values, self.source, self.hole, self.valid, window, self.feather)
                self.result[window.slices][hole] = quantize(values[hole], self.result.dtype)

    def patch(self, image: Float, hole: Bool) -> Patch:
        """Return a patch, in colour if the photo is grey."""
        return Patch(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image, hole)

    def colours(self, fill: Float) -> Float:
        """Return a fill with as many channels as the photo."""
        return fill.mean(axis=2, keepdims=True) if self.source.shape[2] == 1 else fill


def fill_steps(canvas: Canvas, strategy: Strategy, limits: Limits) -> Steps:
    """Fill every hole of a photograph.

    Args:
        canvas: The photograph.
        strategy: See the module's text.
        limits: What may pass the engine.

    Raises:
        ConfigError: The strategy is "whole", and the photo is too large for it.
    """
    if strategy == "whole":
        height, width = canvas.hole.shape
        if height * width > limits.max_pixels:
            raise ConfigError(
                f"{width}x{height} pixels are too many for one run: the memory allowed holds "
                f"{limits.max_pixels / 1e6:.1f} megapixels. Raise --max-memory, or choose --strategy auto."
            )
        yield from _fill_crops(canvas, [(Region(0, 0, width, height), 1)], limits)
        return
    limits = replace(limits, max_pixels=min(limits.max_pixels, MAX_CROP_PIXELS))
    crops: list[tuple[Region, int]] = []
    tiled: list[tuple[Region, int]] = []
    for region in find_regions(canvas.hole, limits.multiple):
        by_thickness = -(-measure_thickness(canvas.hole[region.slices]) // limits.thickness)
        by_memory = _fitting_factor(region, limits)
        factor = max(by_thickness, by_memory, 1)
        tiles = strategy == "tile" or (
            strategy == "auto" and (factor > MAX_CROP_FACTOR or by_memory > max(by_thickness, 1))
        )
        if tiles:
            tiled.append((region, by_thickness))
        else:
            crops.append((region, factor))
    yield from _fill_crops(canvas, crops, limits)
    for region, by_thickness in tiled:
        yield from _fill_tiles(canvas, region, by_thickness, limits)


def _fitting_factor(region: Region, limits: Limits) -> int:
    """Return the whole factor by which a region must be scaled down to pass at once."""
    factor = max(int((region.num_pixels / limits.max_pixels) ** 0.5), 1)
    while not limits.hold(-(-region.height // factor), -(-region.width // factor)):
        factor += 1
    return factor


def _fill_crops(canvas: Canvas, crops: list[tuple[Region, int]], limits: Limits) -> Steps:
    """Fill regions, each scaled down by a factor; those of one size follow each other."""

    def size(crop: tuple[Region, int]) -> tuple[int, int]:
        return -(-crop[0].height // crop[1]), -(-crop[0].width // crop[1])

    waiting = sorted(crops, key=size)
    while waiting:
        group, num_pixels = [waiting.pop()], 0
        while waiting and len(group) < limits.max_batch:
            num_pixels += math.prod(size(group[-1]))
            if num_pixels + math.prod(size(waiting[-1])) > limits.max_pixels:
                break
            group.append(waiting.pop())
        patches = [_reduced_patch(canvas, region, factor) for region, factor in group]
        for (region, factor), patch, fill in zip(group, patches, (yield patches), strict=True):
            _paste_crop(canvas, region, factor, patch, canvas.colours(fill))


def _reduced_patch(canvas: Canvas, region: Region, factor: int) -> Patch:
    levels, hole = canvas.source[region.slices], canvas.hole[region.slices]
    return canvas.patch(*(downscale(levels, hole, factor) if factor > 1 else (to_float(levels), hole)))


def _paste_crop(canvas: Canvas, region: Region, factor: int, patch: Patch, fill: Float) -> None:
    coarse = _see_finely(canvas, region, factor, patch, fill) if factor > 1 else None

    def get_window(window: Region) -> Float:
        inner = window.moved(-region.top, -region.left)
        return coarse(inner) if coarse is not None else fill[inner.slices]

    canvas.paste(region, get_window)


def _see_finely(canvas: Canvas, region: Region, factor: int, patch: Patch, fill: Float) -> CoarseFill:
    return CoarseFill(canvas.source[region.slices], canvas.hole[region.slices], fill, patch.hole, factor)


def _fill_tiles(canvas: Canvas, region: Region, factor: int, limits: Limits) -> Steps:
    """Fill a region in tiles; where its hole is too thick by ``factor``, on top of a coarse fill."""
    coarse: CoarseFill | None = None
    if factor > 1:
        factor = max(factor, _fitting_factor(region, limits))
        patch = _reduced_patch(canvas, region, factor)
        (fill,) = yield [patch]
        coarse = _see_finely(canvas, region, factor, patch, canvas.colours(fill))
    sides = _tile_sides(limits)
    overlaps = _overlap(sides[0], limits.multiple), _overlap(sides[1], limits.multiple)
    rows = cut_tiles(region.height, region.width, sides, overlaps, limits.multiple)
    sums = np.zeros((0, region.width, canvas.source.shape[2]), np.float32)
    weights = np.zeros((0, region.width), np.float32)
    for index, row in enumerate(rows):
        top, bottom = row[0].top, row[0].bottom
        # The overlap with the row above is there already.
        new = ((0, bottom - top - len(sums)), (0, 0))
        sums, weights = np.pad(sums, (*new, (0, 0))), np.pad(weights, new)
        cut = [(tile, _tile_patch(canvas, region, tile, coarse)) for tile in row]
        jobs = [(tile, patch) for tile, patch in cut if patch is not None]
        largest = max(tile.num_pixels for tile in row)
        at_once = max(min(limits.max_batch, limits.max_pixels // largest), 1)
        for first in range(0, len(jobs), at_once):
            group = jobs[first : first + at_once]
            for (tile, _), fill in zip(group, (yield [patch for _, patch in group]), strict=True):
                weight = weigh_tile(tile, region.height, region.width, overlaps)
                part = (slice(None), slice(tile.left, tile.right))
                sums[part] += canvas.colours(fill) * weight[..., None]
                weights[part] += weight
        done = (rows[index + 1][0].top if index + 1 < len(rows) else bottom) - top
        finished = Region(region.left, region.top + top, region.right, region.top + top + done)
        _paste_rows(canvas, region, finished, sums[:done], weights[:done], coarse)
        sums, weights = sums[done:], weights[done:]


def _tile_sides(limits: Limits) -> tuple[int, int]:
    """Return height and width of tiles: the largest that the engine takes, up to what is enough."""
    enough = max(min(TILE_SIDE, int(limits.max_pixels**0.5)), 2 * TILE_OVERLAP + limits.multiple)

    def side(least: int, most: int) -> int:
        return min(max(enough, least), most) // limits.multiple * limits.multiple

    usable = (sizes for sizes in limits.sizes if sizes.pad(1, 1, limits.multiple))
    tiles = [(side(sizes.least[1], sizes.most[1]), side(sizes.least[2], sizes.most[2])) for sizes in usable]
    return max(tiles, key=lambda tile: (limits.hold(*tile), math.prod(tile)))


def _overlap(side: int, multiple: int) -> int:
    """Return how many pixels neighbouring tiles share: so few that each has a part of its own."""
    return min(TILE_OVERLAP, (side - multiple) // 2)


def _tile_patch(canvas: Canvas, region: Region, tile: Region, coarse: CoarseFill | None) -> Patch | None:
    """Return what of a tile is to be filled; None if nothing is."""
    place = tile.moved(region.top, region.left)
    hole = canvas.hole[place.slices]
    if not hole.any():
        return None
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
            np.copyto(image, np.clip(coarse(tile), 0, 1), where=deep[..., None])
            hole = hole & ~deep
            if not hole.any():
                return None
    return canvas.patch(image, hole)


def _paste_rows(
    canvas: Canvas, region: Region, rows: Region, sums: Float, weights: Float, coarse: CoarseFill | None
) -> None:
    """Write finished rows of blended tiles; what no tile filled lies deep in the hole and is the coarse fill's."""

    def get_window(window: Region) -> Float:
        part = slice(window.top - rows.top, window.bottom - rows.top)
        weight = weights[part][..., None]
        blended = np.divide(sums[part], weight, where=weight > 0, out=np.zeros_like(sums[part]))
        if coarse is None or weight.all():
            return blended
        inner = window.moved(-region.top, -region.left)
        return np.where(weight > 0, blended, coarse(inner))

    canvas.paste(rows, get_window)
