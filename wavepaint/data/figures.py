"""Holes in the shape of drawn figures: people, four-legged animals and trees.

They stand for the silhouettes of segmented objects where there is no folder of cut-outs: round and thin parts, gaps
between limbs, outlines that follow no axis.
"""

import math

import numpy as np
from PIL import ImageDraw

FIGURE_SHARES = (1 / 4, 3 / 4)
"""Height of a figure as a share of the image's shorter side, as for silhouettes from a folder."""
MAX_FIGURES = 2
MAX_ROTATION = math.radians(15)

Part = tuple[float, float, float, float, float]
"""A limb from (x, y) to (x, y), and its width. The figure's height is 1; its feet stand at y = 0.5."""


def _make_person(rng: np.random.Generator) -> list[Part]:
    stride, reach, waist = rng.uniform(0.05, 0.2), rng.uniform(0.08, 0.3), rng.uniform(-0.03, 0.03)
    hand = rng.uniform(-0.1, 0.12)
    return [
        (0, -0.43, 0, -0.41, 0.13),
        (0, -0.36, 0, -0.3, 0.06),
        (0, -0.25, waist, 0.02, rng.uniform(0.16, 0.24)),
        *((waist, 0.02, side * stride, 0.46, rng.uniform(0.07, 0.1)) for side in (-1, 1)),
        *((side * 0.08, -0.27, side * reach, hand, 0.055) for side in (-1, 1)),
    ]


def _make_animal(rng: np.random.Generator) -> list[Part]:
    back, neck = rng.uniform(0.3, 0.45), rng.uniform(0.1, 0.3)
    return [
        (-back, 0, back, 0.02, rng.uniform(0.24, 0.34)),
        (back, -0.02, back + 0.12, -neck, 0.13),
        (back + 0.1, -neck, back + 0.24, -neck + 0.04, 0.14),
        (-back, -0.05, -back - rng.uniform(0.05, 0.3), rng.uniform(-0.3, 0.15), 0.05),
        *((side * back + step, 0.05, side * back + step, 0.47, 0.07) for side in (-1, 1) for step in (-0.05, 0.07)),
    ]


def _make_tree(rng: np.random.Generator) -> list[Part]:
    crown = [(*rng.uniform((-0.2, -0.42), (0.2, -0.05)), rng.uniform(0.15, 0.3)) for _ in range(6)]
    branches = [(0.0, 0.1, x, y, 0.03) for x, y, _ in crown]
    return [(0, 0.5, 0, -0.1, rng.uniform(0.04, 0.1)), *branches, *((x, y, x, y, width) for x, y, width in crown)]


_MAKERS = (_make_person, _make_animal, _make_tree)


def draw_figures(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw 1 or 2 figures of value 1, scaled, mirrored and rotated, centred inside an image of (width, height)."""
    for _ in range(rng.integers(1, MAX_FIGURES + 1)):
        parts = _MAKERS[rng.integers(len(_MAKERS))](rng)
        height = rng.uniform(*FIGURE_SHARES) * min(size)
        mirror = rng.choice((-1, 1))
        turn = rng.uniform(-MAX_ROTATION, MAX_ROTATION)
        centre = rng.uniform(0, 1, 2) * size
        rotation = height * np.array(((math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))))
        for x0, y0, x1, y1, width in parts:
            ends = [rotation @ (mirror * x, y) + centre for x, y in ((x0, y0), (x1, y1))]
            radius = width * height / 2
            draw.line([tuple(end.tolist()) for end in ends], fill=1, width=max(round(2 * radius), 1))
            for x, y in ends:
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1)
