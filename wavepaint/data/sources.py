"""Photographs wherever they lie: folders, tar and zip archives, STL-10's binary files.

A source knows the names of its photos and reads one by its name, in any process: it holds no open file and may be
pickled. Names are relative to the root, with ``/``, and in the order of folders.
"""

import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from wavepaint.data.archives import ARCHIVE_SUFFIXES, Member, index_archive, is_compressed_tar, read_member
from wavepaint.data.names import PackedNames, encode_name, sort_key
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.jpeg_scans import check_scans

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
STL10_SIDE = 96
STL10_FILES = ("unlabeled_X.bin", "train_X.bin", "test_X.bin")
"""In order of preference: the resource-efficient paper (appendix A) uses the unlabeled images alone."""

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
"""How JPEG, PNG and TIFF files begin."""
_MAX_STL10_PHOTOS = 1_000_000
"""Most photos in one file; the largest of the data set has 100,000."""


class PhotoSource(ABC):
    """Photos by name.

    Attributes:
        root: The folder or file it was opened from.
        names: Of all photos, sorted; stable as long as the data are.
    """

    root: Path
    names: Sequence[str]

    @abstractmethod
    def _open(self, name: str) -> BinaryIO:
        """Return the encoded photo; raises KeyError if there is none of that name."""

    @abstractmethod
    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        """Yield the sizes of the encoded photos; raises OSError or KeyError."""

    def _decode(self, stream: BinaryIO) -> Image.Image:
        with Image.open(stream) as image:
            check_scans(image, "it")
            return ImageOps.exif_transpose(image).convert("RGB")

    def _broken(self, name: str, error: Exception) -> TrainingError:
        if isinstance(error, KeyError) and error.args == (name,):
            reason = "there is no such photo"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        path = str(self.root / name)
        return TrainingError(
            f"{path if path.isprintable() else repr(path)} cannot be decoded ({reason}). Remove or replace it."
        )

    def read(self, name: str) -> Image.Image:
        """Decode a photo as upright RGB.

        Raises:
            TrainingError: It cannot be decoded; names the file, and the member of an archive.
        """
        try:
            with self._open(name) as stream:
                return self._decode(stream)
        except Exception as error:  # Pillow's decoders raise many kinds for broken files
            raise self._broken(name, error) from error

    def measure(self, name: str) -> tuple[int, int]:
        """Return width and height in pixels as the file has them, not turned upright, decoding its header alone.

        Raises:
            TrainingError: The header cannot be read.
        """
        try:
            with self._open(name) as stream, Image.open(stream) as image:
                return image.size
        except Exception as error:
            raise self._broken(name, error) from error

    def describe(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the number of photos and a hash of their names and sizes (contents would take hours).

        Args:
            names: Of the photos that count, all by default.

        Raises:
            TrainingError: A photo is no longer there.
        """
        digest, chosen = hashlib.sha256(), self.names if names is None else tuple(names)
        try:
            for name, size in zip(chosen, self._count_bytes(chosen), strict=True):
                digest.update(encode_name(f"{name} {size}\n"))
        except (OSError, KeyError) as error:
            raise TrainingError(f"a photo of {self.root} is no longer there ({error}). Begin again.") from error
        return {"num_photos": len(chosen), "listing_sha256": digest.hexdigest()}


class FolderSource(PhotoSource):
    """Image files below a folder, in any layout."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self.names = PackedNames(sorted(names, key=sort_key))

    def _open(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        return ((self.root / name).stat().st_size for name in names)


class ArchiveSource(PhotoSource):
    """Image files in one archive, or in several below a folder.

    The photos of one archive have their members' names, those of several the archive's name before it:
    ``shard-000.tar/0001.jpg``. Of members of one name the last counts, as when they are unpacked.
    """

    def __init__(self, root: Path, shards: Sequence[str] | None = None) -> None:
        self.root = root
        self._shards = PackedNames(shards or [""])
        names: list[str] = []
        numbers = array("q")  # a row a photo: shard and the member's numbers; objects would take ten times the memory
        for shard_number, shard in enumerate(self._shards):
            for member in index_archive(root / shard if shard else root):
                if Path(member.name).suffix.lower() in SUFFIXES:
                    names.append(f"{shard}/{member.name}" if shard else member.name)
                    numbers.extend((shard_number, *member[1:]))
        order = sorted(range(len(names)), key=lambda i: sort_key(names[i]))
        order = [i for i, after in pairwise((*order, -1)) if after < 0 or names[i] != names[after]]
        self.names = PackedNames(names[i] for i in order)
        self._rows = np.asarray(numbers, dtype=np.int64).reshape(len(names), 6)[order]

    def _member(self, name: str) -> tuple[Path, Member]:
        assert isinstance(self.names, PackedNames)
        shard, offset, stored, size, crc, deflated = map(int, self._rows[self.names.find(name)])
        path = self.root / self._shards[shard] if self._shards[shard] else self.root
        return path, Member(name, offset, stored, size, crc, bool(deflated))

    def _open(self, name: str) -> BinaryIO:
        return BytesIO(read_member(*self._member(name)))

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        places = {name: place for place, name in enumerate(self.names)}  # a search for each of a million takes minutes
        return (int(self._rows[places[name], 3]) for name in names)


class Stl10Source(PhotoSource):
    """One of STL-10's binary files: uint8 (N, 3, 96, 96), each channel column by column.

    Source: A. Coates, H. Lee, A. Y. Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning"
    (AISTATS 2011), and the data set's page. Photo 7 of unlabeled_X.bin is ``unlabeled_X/000007``.

    Raises:
        TrainingError: The file is cut off or no such file.
    """

    BYTES = 3 * STL10_SIDE**2

    def __init__(self, root: Path) -> None:
        self.root = root
        size = root.stat().st_size
        number, rest = divmod(size, self.BYTES)
        if rest or not 1 <= number <= _MAX_STL10_PHOTOS:
            raise TrainingError(
                f"{root} holds {size} bytes: expected a multiple of {self.BYTES} (STL-10 images of 96x96x3), "
                f"of at most {_MAX_STL10_PHOTOS:,} images. "
                "It may be cut off: unpack stl10_binary.tar.gz again."
            )
        self.names = PackedNames(f"{root.stem}/{index:06d}" for index in range(number))

    def _place(self, name: str) -> int:
        assert isinstance(self.names, PackedNames)
        return self.names.find(name) * self.BYTES

    def _open(self, name: str) -> BinaryIO:
        place = self._place(name)
        with self.root.open("rb") as stream:
            stream.seek(place)
            return BytesIO(stream.read(self.BYTES))

    def _decode(self, stream: BinaryIO) -> Image.Image:
        planes_CWH = np.frombuffer(stream.read(), np.uint8).reshape(3, STL10_SIDE, STL10_SIDE)
        return Image.fromarray(np.ascontiguousarray(planes_CWH.transpose(2, 1, 0)))

    def measure(self, name: str) -> tuple[int, int]:
        return STL10_SIDE, STL10_SIDE

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        return (self.BYTES for _ in names)


def find_files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, relative to it; hidden ones left out, links followed, each folder once.

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
                continue  # a link to a folder that was visited, or a ring of links
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


def _begins_like_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(8).startswith(_MAGIC)
    except OSError:
        return False


def _find_stl10(folder: Path) -> Path | None:
    candidates = (place / name for name in STL10_FILES for place in (folder, folder / "stl10_binary"))
    return next((path for path in candidates if path.is_file()), None)


def _explain_no_photos(folder: Path, others: "Counter[str]") -> TrainingError:
    expected = f"photos ({', '.join(sorted(SUFFIXES))}), .tar or .zip archives, or STL-10's {STL10_FILES[0]}"
    if others[".npy"] or others[".dat"]:
        return TrainingError(
            f"{folder} holds no photos but .npy or .dat files. If these are CelebA-HQ's deltas, build the 1024x1024 "
            f"images with its own tool first and give their folder. Expected {expected}."
        )
    held = ", ".join(f"{number} {suffix or 'without an ending'}" for suffix, number in others.most_common(3))
    return TrainingError(f"{folder} holds no photos: {f'files found: {held}' if held else 'it is empty'}. "
                         f"Expected {expected}.")  # fmt: skip


def _open_folder(folder: Path) -> PhotoSource:
    stl10 = _find_stl10(folder)
    if stl10 is not None:
        return Stl10Source(stl10)
    photos: list[str] = []
    shards: list[str] = []
    others: Counter[str] = Counter()
    for name in find_files(folder):
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 -- a Path for each of a million names takes seconds
        if suffix in SUFFIXES or (not suffix and _begins_like_an_image(folder / name)):
            photos.append(name)
        elif suffix in ARCHIVE_SUFFIXES or is_compressed_tar(Path(name)):
            shards.append(name)
        else:
            others[suffix] += 1
    if photos:
        if shards:
            warnings.warn(
                f"{folder} holds {len(photos)} photos and {len(shards)} archives; the archives are left out.",
                WavePaintWarning,
                stacklevel=2,
            )
        return FolderSource(folder, photos)
    if not shards:
        raise _explain_no_photos(folder, others)
    return ArchiveSource(folder, sorted(shards, key=sort_key))


def open_source(path: Path) -> PhotoSource:
    """Open photos wherever they lie.

    Args:
        path: A folder of image files at any depth (ImageNet, Places, CelebA-HQ and others as they are unpacked; files
            without an ending are taken if they begin like an image), a folder of .tar or .zip archives (WebDataset
            shards), one such archive, one of STL-10's ``*_X.bin`` files or a folder with them.

    Raises:
        TrainingError: It is missing, unreadable, of another kind, broken, or holds no photo.
    """
    try:
        if path.is_dir():
            source = _open_folder(path)
        elif not path.exists():
            raise TrainingError(f"{path} does not exist. Give a folder of photos, a .tar or a .zip.")
        elif not path.is_file():
            raise TrainingError(f"{path} is a pipe or a device. Give a folder of photos, a .tar or a .zip.")
        elif path.suffix.lower() in ARCHIVE_SUFFIXES or is_compressed_tar(path):
            source = ArchiveSource(path)
        elif path.name in STL10_FILES:
            source = Stl10Source(path)
        else:
            raise TrainingError(
                f"{path} is a file of another kind: give a folder, a .tar, a .zip or an STL-10 *_X.bin."
            )
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not source.names:
        raise TrainingError(f"{path} holds no photos: no member's name ends in {', '.join(sorted(SUFFIXES))}.")
    return source
