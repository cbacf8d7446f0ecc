"""Matched details: the photograph around a hole, copied into it where the surroundings match.

The initial fill has no texture, and shifted details come from fixed distances, whatever is there. This module looks for
places of the photograph that resemble what should be in the hole, as exemplar-based methods do, and moves them there:

1. The hole starts as the initial fill plus its shifted details.
2. On a grid with a cell for 16x16 pixels, every window of 3x3 cells is compared with all windows around it, and becomes
   the mean of those windows, weighted by their likeness. Overlapping windows are averaged.
3. The result is refined to cells of 8x8 pixels and compared again, now with some cells further around, which tell one
   stretch of an edge from another. The weights found there move patches of 16x16 pixels of the photograph, and
   overlapping patches are blended.

The likeness of two windows is the inverse of their squared difference, to a high power, so that the best few sources
decide whatever the contrast of the photograph. Windows of the hole or beside it hardly count as sources.

It consists of slices, matrix products and pooling, and has no weights. Each block of 64x64 pixels sees only the blocks
around it, and blocks without a hole in reach are not searched, so its cost is linear in the size of the hole.

Ideas: Y. Wexler et al., "Space-Time Completion of Video" (2007), for the alternation of search and vote from coarse to
fine; J. Yu et al., "Generative Image Inpainting with Contextual Attention" (2018), for search by matrix products.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wavepaint.errors import ImageError
from wavepaint.ops.cells import find_blocks, join_cells, put_cells, split_cells, square_offsets, take_cells
from wavepaint.ops.maps import check_maps, check_mask, make_slice

BLOCK_SIDE = 64
"""Pixels. Height and width must be multiples of it."""

COARSE_LEVEL, FINE_LEVEL = 4, 3
"""Levels of the initial fill on which windows are compared: cells of 16x16, then of 8x8 pixels."""

COARSE_REACH, FINE_REACH = 2, 1
"""Blocks around a block, in each direction, in which its sources are sought."""

COARSE_STEPS, FINE_STEPS = (-1, 0, 1), (-3, -1, 0, 1, 3)
"""Cells from the middle of a window, in both directions, whose colours are compared. On training photographs, 73 holes
across lines had an LPIPS of 0.203 with 3x3 cells on the fine level, too, and 55 % of the lines were joined. These 25
cells gave 0.200 and 58 %. All 7x7 cells gave 0.199 and 58 %, with twice as many numbers to compare and to keep."""

_SQUARINGS = 4
SHARPNESS = 2**_SQUARINGS
"""Power of the inverse squared difference. Sharper settings (64, a softness of 0.003, a gain of 1) lower LPIPS in thick
holes from 0.400 to 0.384, before training. But fills repeat more often (at 1.0 instead of 0.8 % of the places in holes
across lines), and the largest error of float32 on photographs rises from 2e-5 to 5e-5. The median is below 5e-6."""

SOFTNESS = 3e-4
"""Added to the mean squared difference of two windows. Below it, differences do not matter."""

PURITY = 3 * SHARPNESS
"""Power of the known share of a source's window."""

DETAIL_GAIN = 0.7
"""Factor of the sum of the horizontally and the vertically shifted detail, where the search starts."""

_WINDOW = 3
_WINDOW_STEPS = (-1, 0, 1)
_WINDOW_CELLS = list(itertools.product(_WINDOW_STEPS, repeat=2))
_QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Quarters of a patch: the upper (0) or lower (1) half of the left (0) or right (1) half."""
_LEAST_RATIO = 2**-7
"""Least weight before its power is taken, relative to the best. Its power is about 2e-34: far too little to count, and
large enough for a normal float32, because processors take many times as long for smaller numbers."""
_STEP = 1 / 256
"""Step of the part of a colour whose squared differences are computed without rounding."""


def match_details(fills: Sequence[Tensor], mask_N1HW: Tensor, shifted_NBHW: Tensor) -> Tensor:
    """Fill the hole with patches of the photograph that match its surroundings.

    Args:
        fills: The initial fill (N, 3, H, W) with values in [0, 1], and its halvings, at least :data:`COARSE_LEVEL`
            (:func:`~wavepaint.ops.initial_fill.fill_levels`). H and W are multiples of :data:`BLOCK_SIDE`.
        mask_N1HW: 1 = hole.
        shifted_NBHW: Two shifted details (N, 6, H, W).

    Returns:
        (N, 3, H, W): the difference of the matched patches from the initial fill; 0 outside the hole, and close to 0
        where no source is known nearby.

    Raises:
        ImageError: Wrong number of dimensions or dtype, or sizes that do not match.
    """
    filled_NCHW = fills[0]
    check_maps(filled_NCHW, "the initial fill")
    check_mask(mask_N1HW, filled_NCHW)
    sides = filled_NCHW.shape[2:]
    # In an export sizes are symbols.
    if not torch.compiler.is_exporting() and (len(fills) <= COARSE_LEVEL or any(side % BLOCK_SIDE for side in sides)):
        raise ImageError(
            f"the initial fill is {tuple(sides)} with {len(fills) - 1} halvings: expected multiples of {BLOCK_SIDE} "
            f"pixels, and at least {COARSE_LEVEL} halvings."
        )
    dtype = filled_NCHW.dtype
    device = filled_NCHW.device.type
    if torch.is_autocast_enabled(device):  # it would compute the matrix products in half precision
        with torch.autocast(device, enabled=False):
            return match_details(fills, mask_N1HW, shifted_NBHW)
    if dtype.itemsize < 4:  # the differences of close matches need float32
        fills, mask_N1HW, shifted_NBHW = [fill.float() for fill in fills], mask_N1HW.float(), shifted_NBHW.float()
        filled_NCHW = fills[0]
    start_NCHW = filled_NCHW + DETAIL_GAIN * (shifted_NBHW[:, :3] + shifted_NBHW[:, 3:])
    start_NChw = F.avg_pool2d(start_NCHW, 2**FINE_LEVEL)

    blocks = _find_blocks(mask_N1HW)
    start_coarse_NChw = F.avg_pool2d(start_NChw, 2 ** (COARSE_LEVEL - FINE_LEVEL))
    coarse = _Grid(fills, start_coarse_NChw, mask_N1HW, blocks, COARSE_LEVEL, COARSE_REACH, COARSE_STEPS)
    voted_NChw = coarse.vote(coarse.cells)
    fine = _Grid(fills, start_NChw, mask_N1HW, blocks, FINE_LEVEL, FINE_REACH, FINE_STEPS)
    change_NChw = F.interpolate(
        voted_NChw - F.avg_pool2d(fine.cells, 2), scale_factor=2, mode="bilinear", align_corners=False
    )
    cells_NChw = fine.vote(fine.cells + fine.unknown * change_NChw)
    return fine.move_patches(filled_NCHW, cells_NChw, mask_N1HW).to(dtype)


def _find_blocks(mask_N1HW: Tensor) -> Tensor:
    """Return the numbers of the blocks in which a window or a patch may reach the hole (A,)."""
    scale = 2**COARSE_LEVEL
    near = F.max_pool2d(F.max_pool2d(mask_N1HW, scale), _WINDOW, stride=1, padding=1)
    return find_blocks(F.max_pool2d(near, BLOCK_SIDE // scale))


class _Grid:
    """Cells of one level, in blocks, and the search for windows that match.

    Letters in names: N images, D channels, h x w cells; A blocks of B cells that are searched, each with K cells in and
    around it.
    """

    def __init__(
        self,
        fills: Sequence[Tensor],
        start_NChw: Tensor,
        mask_N1HW: Tensor,
        blocks_A: Tensor,
        level: int,
        reach: int,
        steps: Sequence[int],
    ) -> None:
        self.scale, self.steps = 2**level, steps
        self.blocks, self.side = blocks_A, BLOCK_SIDE // self.scale
        self.margin = reach * self.side
        self.unknown = 1 - F.max_pool2d(1 - mask_N1HW, self.scale)
        self.cells = fills[level] + self.unknown * (start_NChw - fills[level])
        unknown_share = F.pad(F.avg_pool2d(mask_N1HW, self.scale), (1, 1, 1, 1), value=1)
        self.purity = 1 - F.avg_pool2d(unknown_share, _WINDOW, stride=1)
        self.use = torch.clamp(3 * self.purity, max=1)

    def vote(self, cells_NChw: Tensor) -> Tensor:
        """Replace each unknown cell by the mean of what the windows over it would put there."""
        windows = _take_windows(cells_NChw)
        weights, sources = self._find(cells_NChw, windows * self.use, self.use)
        found = self._put((weights @ sources) / weights.sum(-1, keepdim=True), cells_NChw).permute(0, 3, 1, 2)
        change = found[:, :-1] - found[:, -1:] * windows
        proposed = F.pad(windows + change, (1, 1, 1, 1), mode="replicate")
        parts = zip(_WINDOW_CELLS, proposed.chunk(_WINDOW**2, dim=1), strict=True)
        # Reversed: a cell is the last one of the window above and to the left of it.
        total = sum((_shift(part, -down, -right) for (down, right), part in parts), torch.zeros_like(cells_NChw))
        return cells_NChw + self.unknown * (total / _WINDOW**2 - cells_NChw)

    def move_patches(self, image_NCHW: Tensor, cells_NChw: Tensor, mask_N1HW: Tensor) -> Tensor:
        """Return the difference that blended patches of twice the cells' side make to the image inside the mask."""
        half = self.scale // 2
        quarters = split_cells(F.pad(image_NCHW, (half,) * 4, mode="replicate"), self.scale)  # (N, h + 1, w + 1, 3 Q)
        sources = self._take(quarters, self.margin, more=1)
        weights, use = self._find(cells_NChw, self.use)
        weights_sum = weights.sum(-1, keepdim=True)
        cell_share = self._put((weights @ use) / weights_sum, cells_NChw)  # (N, h, w, 1)
        grid = torch.unflatten(weights * use.transpose(1, 2), 2, (self.side + 2 * self.margin,) * 2)
        # Raised cosines of patches that overlap by half add up to 1, except at the border.
        steps = torch.arange(2 * self.scale, dtype=weights.dtype, device=weights.device) + 0.5
        cosine = torch.sin(steps * (math.pi / (2 * self.scale))) ** 2
        ramps = (cosine[: self.scale], cosine[self.scale :])
        sums: list[Tensor] = []
        for down, right in _QUARTERS:
            # A quarter comes from the cell of its patch or from the next one: the same weights, moved by a cell.
            padding = (right, 1 - right, down, 1 - down)
            moved = self._put((F.pad(grid, padding).flatten(2) @ sources) / weights_sum, cells_NChw)  # (N, h, w, 3 Q)
            ramp = (ramps[down][:, None] * ramps[right]).flatten()
            parts = (moved * ramp.repeat(image_NCHW.shape[1]), cell_share * ramp)
            padded = [F.pad(part, (0, 0, *padding)) for part in parts]
            sums = [former + part for former, part in zip(sums, padded, strict=True)] if sums else padded
        total, share = (join_cells(x_NhwD, self.scale)[:, :, half:-half, half:-half] for x_NhwD in sums)
        edge = 1 / ramps[0][half:]
        column, row = (
            torch.cat([edge, torch.ones_like(line), edge.flip(0)])
            for line in (image_NCHW[0, 0, self.scale :, 0], image_NCHW[0, 0, 0, self.scale :])
        )
        return (total - share * image_NCHW) * (mask_N1HW * column[:, None] * row)

    def _find(self, cells_NChw: Tensor, *carried: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (A, B, K) of the sources of each cell, and carried maps (A, K, D) of the sources.

        The weight of the best source is 1.
        """
        # The difference of two windows that match is small, and would drown in the rounding errors of the products. A
        # rounded part of each colour, a multiple of 1/256, has exact products and sums; the rest is small.
        centred = _take_windows(cells_NChw, self.steps) - 0.5
        high = torch.round(centred / _STEP) * _STEP
        low = centred - high
        one = torch.ones_like(self.purity)
        square, product = (high * high).sum(1, keepdim=True), ((2 * high + low) * low).sum(1, keepdim=True)
        channels = high.shape[1]
        softness = channels * SOFTNESS
        pure = (self.purity + 1e-6) ** (PURITY // SHARPNESS)
        queries = torch.cat([-2 * high, square, one, -2 * high, -2 * low, product + softness, one], 1)
        sources = torch.cat([high, one, square, low, high + low, one, product, pure, *carried], 1)
        exact, compared = channels + 2, 3 * channels + 4
        queries_ABD = self._take(queries.permute(0, 2, 3, 1))
        # All maps are gathered at once: an engine spends more on the shapes of a small tensor than on its numbers.
        gathered_AKD = self._take(sources.permute(0, 2, 3, 1), self.margin)
        exactly = queries_ABD[..., :exact] @ gathered_AKD[..., :exact].transpose(1, 2)
        roughly = queries_ABD[..., exact:] @ gathered_AKD[..., exact:compared].transpose(1, 2)
        difference = torch.clamp(exactly + roughly, min=softness)
        weights = gathered_AKD[..., compared : compared + 1].transpose(1, 2) / difference
        weights = torch.clamp(weights / weights.amax(-1, keepdim=True), min=_LEAST_RATIO)
        for _ in range(_SQUARINGS):
            weights = weights * weights
        return weights, gathered_AKD[..., compared + 1 :]

    def _take(self, x_NhwD: Tensor, margin: int = 0, more: int = 0) -> Tensor:
        """Return the cells of each block, with those of a margin around it, and ``more`` rows and columns after it."""
        return take_cells(x_NhwD, self.blocks, self.side, square_offsets(-margin, self.side + margin + more))

    def _put(self, x_ABD: Tensor, like_NChw: Tensor) -> Tensor:
        return put_cells(x_ABD, self.blocks, self.side, like_NChw.permute(0, 2, 3, 1))


def _take_windows(x_NChw: Tensor, steps: Sequence[int] = _WINDOW_STEPS) -> Tensor:
    """Return the cells at S x S places around all cells, (N, S S C, h, w)."""
    margin = max(steps)
    padded = F.pad(x_NChw, (margin,) * 4, mode="replicate")
    return torch.cat([_shift(padded, down, right, margin) for down, right in itertools.product(steps, repeat=2)], 1)


def _shift(padded_NChw: Tensor, down: int, right: int, margin: int = 1) -> Tensor:
    """Return a map that was padded by a margin, at its original size, from cells this far down and to the right."""
    return padded_NChw[:, :, make_slice(margin, down), make_slice(margin, right)]
