"""Inputs of every size, and two profiles."""

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]
WIDE = ((1, 8, 8), (1, 64, 64), (4, 128, 128))
SMALL = ((1, 8, 8), (1, 16, 16), (2, 40, 40))


def make_batch(batch: int, height: int, width: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    image = rng.random((batch, 3, height, width), dtype=np.float32)
    return image, (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)


def make_bytes(batch: int, height: int, width: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    shapes = ((batch, height, width, 3), (batch, height, width, 1))
    image, mask = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)
    return image, mask
