"""A folder of four real photos."""

from pathlib import Path

from PIL import Image
from skimage import data


def write_photos(folder: Path) -> Path:
    """Write four photos without loss, in nested folders."""
    (folder / "deep").mkdir()
    names = ("a.png", "b.png", "deep/c.png", "deep a.png")
    for name, load in zip(names, (data.chelsea, data.coffee, data.rocket, data.cat), strict=True):
        image = Image.fromarray(load())
        image.thumbnail((200, 200))
        image.save(folder / name)
    return folder
