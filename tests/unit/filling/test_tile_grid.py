"""Tiles start on the grid, overlap, and their weights cover every pixel."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wavepaint.runtime.filling.tile_grid import cut_tiles, weigh_tile


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    tile=st.tuples(*[st.sampled_from([(64, 16), (96, 40), (288, 128), (384, 128), (512, 128)])] * 2),
    multiple=st.sampled_from([1, 8, 16]),
)
def test_tiles_start_on_the_grid_and_their_weights_cover_every_pixel(
    height: int, width: int, tile: tuple[tuple[int, int], tuple[int, int]], multiple: int
) -> None:
    sides, overlaps = zip(*tile, strict=True)
    rows = cut_tiles(height, width, sides, overlaps, multiple)
    down = np.zeros(height, np.float32)
    across = np.zeros(width, np.float32)
    for row in rows:
        assert len({(tile.top, tile.bottom) for tile in row}) == 1
        assert all(tile.left % multiple == 0 and tile.top % multiple == 0 for tile in row)
        assert all(0 < tile.height <= sides[0] and 0 < tile.width <= sides[1] for tile in row)
        down[row[0].top : row[0].bottom] += weigh_tile(row[0], height, width, overlaps).max(axis=1)
    for tile in rows[0]:
        across[tile.left : tile.right] += weigh_tile(tile, height, width, overlaps).max(axis=0)
    assert down.min() >= 0.99
    assert across.min() >= 0.99
    for first, second in zip(rows[0], rows[0][1:], strict=False):
        assert first.left < second.left <= first.right - overlaps[1]
