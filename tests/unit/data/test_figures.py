"""Drawn figures: holes in the shape of people, animals and trees."""

import numpy as np
from PIL import Image, ImageDraw

from wavepaint.data.figures import draw_figures


def draw_mask(seed: int, width: int = 160, height: int = 128) -> np.ndarray:
    canvas = Image.new("L", (width, height))
    draw_figures(ImageDraw.Draw(canvas), canvas.size, np.random.default_rng(seed))
    return np.array(canvas)


def test_figures_depend_on_the_seed_and_are_neither_dots_nor_everything() -> None:
    masks = [draw_mask(seed) for seed in range(40)]
    assert np.array_equal(masks[3], draw_mask(3))
    assert len({mask.tobytes() for mask in masks}) == 40
    shares = [mask.mean() for mask in masks]
    assert min(shares) > 0
    assert 0.05 < np.mean(shares) < 0.2
    assert max(shares) < 0.5


def test_figures_scale_with_the_shorter_side() -> None:
    small = np.mean([draw_mask(seed, 100, 100).mean() for seed in range(20)])
    large = np.mean([draw_mask(seed, 400, 400).mean() for seed in range(20)])
    assert abs(small / large - 1) < 0.1
