"""The same photos in a folder, a tar and a zip, and the message of a refused source."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wavepaint.data.sources import open_source
from wavepaint.errors import TrainingError

NAMES = ("n01/a.JPEG", "n01/b.png", "n01 more/c.webp", "z.jpg", "deep/er/ä.png")


def encode(name: str) -> bytes:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    kind = {"JPEG": "JPEG", "jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.rsplit(".", 1)[1]]
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_tree(folder: Path) -> Path:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(name))
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_text("no photo")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "t.png").write_text("no photo")
    return folder


def write_tar(path: Path, names: tuple[str, ...] = NAMES, prefix: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        for name in (*names, "notes.txt", "__MACOSX/._a.jpg"):
            content = encode(name) if name in NAMES else b"no photo"
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, names: tuple[str, ...] = NAMES, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(name, encode(name))
        archive.writestr("notes.txt", "no photo")
    return path


def read_refusal(path: Path) -> str:
    """Return the message with which a source is refused."""
    with pytest.raises(TrainingError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)
