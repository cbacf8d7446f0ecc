"""Small generated images with classes: one folder for each class, or label maps."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "red ones": (200, 50, 40)}
"""Classes of images and their colours."""
SIDE = 24


def write_class_folders(folder: Path, per_class: int = 6) -> Path:
    """Write noisy images of one colour, in one folder for each of two colours."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.normal(colour, 25, (SIDE, SIDE + number, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def write_label_folders(folder: Path, count: int = 10) -> Path:
    """Write images of a yellow square on blue with their label maps, 1 in the square; two rows are to be ignored."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        labels = np.zeros((SIDE * 2, SIDE * 2 + number), np.uint8)
        top, left = rng.integers(4, 20, 2)
        labels[top : top + 20, left : left + 20] = 1
        pixels = np.where(labels[..., None] == 1, (220, 190, 30), (30, 40, 120)) + rng.normal(0, 10, (*labels.shape, 3))
        labels[:2] = 255
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")
    return folder
