"""The files below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from wavepaint.errors import TrainingError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
"""Name endings of image files."""

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
"""First bytes of JPEG, PNG and TIFF files."""


def find_files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, relative to it. Links are followed, hidden files and repeated folders skipped.

    Raises:
        TrainingError: A folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            status = (folder / below).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue  # a link to a visited folder, or a cycle of links
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir():
                        waiting.append(name)
                    elif entry.is_file():
                        yield name
        except OSError as error:
            raise TrainingError(f"{folder / below} cannot be listed: {error.strerror or error}.") from error


def starts_like_image(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a JPEG, PNG or TIFF."""
    try:
        with path.open("rb") as stream:
            return stream.read(8).startswith(_MAGIC)
    except OSError:
        return False
