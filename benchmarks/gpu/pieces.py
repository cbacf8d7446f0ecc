"""Archives in pieces: what a folder of them holds, and how one is written and read. Standard library alone.

They are packed and unpacked where nothing else is installed yet, so that nothing of :mod:`wavepaint` is imported here.
"""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MEGABYTE = 1_000_000
MANIFEST = "manifest.json"
FORMAT = "wavepaint-gpu-host-1"


class PackError(Exception):
    """What cannot be packed or unpacked, in one line that says what mends it."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of an archive: file name, size in bytes, sha256."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A compressed archive in pieces.

    Attributes:
        name: A key of :data:`ARCHIVES`.
        packages: File names of the wheels in it.
        sha256: Of all pieces together.
        pieces: In order.
    """

    name: str
    packages: tuple[str, ...]
    sha256: str
    pieces: tuple[Piece, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.num_bytes for piece in self.pieces)


def read_manifest(folder: Path) -> tuple[str, list[Archive]]:
    """Return the Python version a folder is for, and its archives.

    Raises:
        PackError: No such manifest, or a damaged one.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        archives = [
            Archive(**{**one, "packages": tuple(one["packages"]), "pieces": tuple(Piece(**p) for p in one["pieces"])})
            for one in content["archives"]
        ]
    except FileNotFoundError:
        raise PackError(f"{folder} holds no {MANIFEST}. Expected a folder that `pack` wrote.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(f"{path} is damaged ({error}). Copy it again, or pack again.") from error
    for name in [archive.name for archive in archives] + [p.name for archive in archives for p in archive.pieces]:
        if Path(name).name != name or name.startswith("."):
            raise PackError(f"{path} names {name!r}, which is no plain file name. Pack again.")
    return content["python"], archives


class PieceWriter(io.RawIOBase):
    """A binary stream that goes to numbered files of a largest size, whose hashes it keeps.

    Args:
        stem: The files' path without their number.
        num_bytes: Largest size of a piece.
    """

    def __init__(self, stem: Path, num_bytes: int) -> None:
        super().__init__()
        self._stem, self._limit = stem, num_bytes
        self._whole, self._one = hashlib.sha256(), hashlib.sha256()
        self._file: BinaryIO | None = None
        self._size = 0
        self._pieces: list[Piece] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        written = len(view)
        while len(view):
            if self._file is None or self._size == self._limit:
                self._end_piece()
                self._file = self._path(len(self._pieces)).open("xb")
            part = view[: self._limit - self._size]
            self._file.write(part)
            self._whole.update(part)
            self._one.update(part)
            self._size += len(part)
            view = view[len(part) :]
        return written

    def _path(self, index: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{index:02d}")

    def _end_piece(self) -> None:
        if self._file is None:
            return
        self._file.close()
        name = self._path(len(self._pieces)).name
        self._pieces.append(Piece(name=name, num_bytes=self._size, sha256=self._one.hexdigest()))
        self._file, self._size, self._one = None, 0, hashlib.sha256()

    def finish(self) -> tuple[str, tuple[Piece, ...]]:
        """Close the last piece; return the sha256 of all together, and the pieces."""
        self._end_piece()
        return self._whole.hexdigest(), tuple(self._pieces)


class PieceReader(io.RawIOBase):
    """The pieces of an archive as one stream, their hashes checked beforehand."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__()
        self._paths = iter(paths)
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    return 0
                self._file = path.open("rb")
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                return int(count)
            self._file.close()
            self._file = None


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside a path; on a clean exit it becomes the path, else it is removed.

    As :func:`wavepaint.atomic.write_folder`, which is not there yet where this runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
