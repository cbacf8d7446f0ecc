"""Sources of photos: folders, tar and zip archives, and STL-10's binary files.

A source lists the names of its photos and reads a photo by name. It keeps no file open and can be pickled, so it works
in any process. Names are relative to the root, use ``/``, and are sorted folder by folder.
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
from wavepaint.data.folders import SUFFIXES, find_files, starts_like_image
from wavepaint.data.names import PackedNames, encode_name, sort_key
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.jpeg_scans import check_scans

STL10_SIDE = 96
STL10_FILES = ("unlabeled_X.bin", "train_X.bin", "test_X.bin")
"""In order of preference: the resource-efficient paper (appendix A) uses only the unlabeled images."""

_MAX_STL10_PHOTOS = 1_000_000
"""Largest number of photos in a file; the largest file of the data set has 100,000."""


class PhotoSource(ABC):
    """Photos by name.

    Attributes:
        root: The folder or file that was opened.
        names: Sorted names of all photos. They stay the same while the data do.
    """

    root: Path
    names: Sequence[str]

    @abstractmethod
    def _open(self, name: str) -> BinaryIO:
        """Return the encoded photo, or raise KeyError if there is none of that name."""

    @abstractmethod
    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        """Yield the sizes of the encoded photos in bytes, or raise OSError or KeyError."""

    def _decode(self, stream: BinaryIO) -> Image.Image:
        with Image.open(stream) as image:
            check_scans(image, "it")
            return ImageOps.exif_transpose(image).convert("RGB")

    def _explain(self, name: str, error: Exception) -> TrainingError:
        if isinstance(error, KeyError) and error.args == (name,):
            reason = "there is no such photo"
        else:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        path = str(self.root / name)
        return TrainingError(
            f"{path if path.isprintable() else repr(path)} cannot be decoded ({reason}): remove or replace it."
        )

    def read(self, name: str) -> Image.Image:
        """Decode a photo as upright RGB.

        Raises:
            TrainingError: The photo cannot be decoded. The message names the file, and the member of an archive.
        """
        try:
            with self._open(name) as stream:
                return self._decode(stream)
        except Exception as error:  # Pillow's decoders raise many kinds for broken files
            raise self._explain(name, error) from error

    def measure(self, name: str) -> tuple[int, int]:
        """Return width and height in pixels before rotation. Only the header is decoded.

        Raises:
            TrainingError: The header cannot be read.
        """
        try:
            with self._open(name) as stream, Image.open(stream) as image:
                return image.size
        except Exception as error:
            raise self._explain(name, error) from error

    def describe(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the number of photos and a hash of their names and sizes. Hashing contents would take hours.

        Args:
            names: Names of the photos; None describes all of them.

        Raises:
            TrainingError: A photo no longer exists.
        """
        digest, chosen = hashlib.sha256(), self.names if names is None else tuple(names)
        try:
            for name, size in zip(chosen, self._count_bytes(chosen), strict=True):
                digest.update(encode_name(f"{name} {size}\n"))
        except (OSError, KeyError) as error:
            raise TrainingError(
                f"a photo of {self.root} no longer exists ({error}): start the command again."
            ) from error
        return {"num_photos": len(chosen), "listing_sha256": digest.hexdigest()}


class FolderSource(PhotoSource):
    """Image files below a folder, at any depth."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self.names = PackedNames(sorted(names, key=sort_key))

    def _open(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        return ((self.root / name).stat().st_size for name in names)


class ArchiveSource(PhotoSource):
    """Image files in an archive, or in several archives below a folder.

    A photo is named after its member, with the archive's name in front if there are several:
    ``shard-000.tar/0001.jpg``. If members share a name the last one counts, as when they are unpacked.
    """

    def __init__(self, root: Path, shards: Sequence[str] | None = None) -> None:
        self.root = root
        self._shards = PackedNames(shards or [""])
        names: list[str] = []
        numbers = array("q")  # one row per photo (shard and member); objects would need ten times the memory
        for shard_number, shard in enumerate(self._shards):
            for member in index_archive(root / shard if shard else root):
                if Path(member.name).suffix.lower() in SUFFIXES:
                    names.append(f"{shard}/{member.name}" if shard else member.name)
                    numbers.extend((shard_number, *member[1:]))
        order = sorted(range(len(names)), key=lambda i: sort_key(names[i]))
        order = [i for i, after in pairwise((*order, -1)) if after < 0 or names[i] != names[after]]
        self.names = PackedNames(names[i] for i in order)
        self._rows = np.asarray(numbers, dtype=np.int64).reshape(len(names), 6)[order]

    def _find_member(self, name: str) -> tuple[Path, Member]:
        assert isinstance(self.names, PackedNames)
        shard, offset, stored, size, crc, deflated = map(int, self._rows[self.names.find(name)])
        path = self.root / self._shards[shard] if self._shards[shard] else self.root
        return path, Member(name, offset, stored, size, crc, bool(deflated))

    def _open(self, name: str) -> BinaryIO:
        return BytesIO(read_member(*self._find_member(name)))

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        rows = {name: row for row, name in enumerate(self.names)}  # a million binary searches would take minutes
        return (int(self._rows[rows[name], 3]) for name in names)


class Stl10Source(PhotoSource):
    """A binary file of STL-10: uint8 (N, 3, 96, 96), with the channels in column-major order.

    Photo 7 of unlabeled_X.bin is ``unlabeled_X/000007``.

    Source: A. Coates, H. Lee, A. Y. Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning"
    (AISTATS 2011), and the data set's page.

    Raises:
        TrainingError: The size of the file is not a multiple of a photo's.
    """

    BYTES = 3 * STL10_SIDE**2

    def __init__(self, root: Path) -> None:
        self.root = root
        size = root.stat().st_size
        count, rest = divmod(size, self.BYTES)
        if rest or not 1 <= count <= _MAX_STL10_PHOTOS:
            raise TrainingError(
                f"{root} has {size} bytes: expected a multiple of {self.BYTES} (STL-10 images of 96x96x3), and at most "
                f"{_MAX_STL10_PHOTOS:,} images. It may be cut off: unpack stl10_binary.tar.gz again."
            )
        self.names = PackedNames(f"{root.stem}/{index:06d}" for index in range(count))

    def _find_offset(self, name: str) -> int:
        assert isinstance(self.names, PackedNames)
        return self.names.find(name) * self.BYTES

    def _open(self, name: str) -> BinaryIO:
        offset = self._find_offset(name)
        with self.root.open("rb") as stream:
            stream.seek(offset)
            return BytesIO(stream.read(self.BYTES))

    def _decode(self, stream: BinaryIO) -> Image.Image:
        planes_CWH = np.frombuffer(stream.read(), np.uint8).reshape(3, STL10_SIDE, STL10_SIDE)
        return Image.fromarray(np.ascontiguousarray(planes_CWH.transpose(2, 1, 0)))

    def measure(self, name: str) -> tuple[int, int]:
        return STL10_SIDE, STL10_SIDE

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        return (self.BYTES for _ in names)


def _find_stl10(folder: Path) -> Path | None:
    candidates = (parent / name for name in STL10_FILES for parent in (folder, folder / "stl10_binary"))
    return next((path for path in candidates if path.is_file()), None)


def _explain_no_photos(folder: Path, others: "Counter[str]") -> TrainingError:
    expected = f"photos ({', '.join(sorted(SUFFIXES))}), .tar or .zip archives, or STL-10's {STL10_FILES[0]}"
    if others[".npy"] or others[".dat"]:
        return TrainingError(
            f"{folder} contains no photos but .npy or .dat files. If these are CelebA-HQ's deltas, build the 1024x1024 "
            f"images with its own tool first and pass their folder. Expected {expected}."
        )
    found = ", ".join(f"{count} {suffix or 'without an ending'}" for suffix, count in others.most_common(3))
    reason = f"files found: {found}" if found else "it is empty"
    return TrainingError(f"{folder} contains no photos: {reason}. Expected {expected}.")


def _open_folder(folder: Path) -> PhotoSource:
    stl10 = _find_stl10(folder)
    if stl10 is not None:
        return Stl10Source(stl10)
    photos: list[str] = []
    shards: list[str] = []
    others: Counter[str] = Counter()
    for name in find_files(folder):
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 -- a million Path objects take seconds
        if suffix in SUFFIXES or (not suffix and starts_like_image(folder / name)):
            photos.append(name)
        elif suffix in ARCHIVE_SUFFIXES or is_compressed_tar(Path(name)):
            shards.append(name)
        else:
            others[suffix] += 1
    if photos:
        if shards:
            warnings.warn(
                f"{folder} contains {len(photos)} photos and {len(shards)} archives; the archives are ignored.",
                WavePaintWarning,
                stacklevel=2,
            )
        return FolderSource(folder, photos)
    if not shards:
        raise _explain_no_photos(folder, others)
    return ArchiveSource(folder, sorted(shards, key=sort_key))


def open_source(path: Path) -> PhotoSource:
    """Open a source of photos.

    Args:
        path: A folder of image files at any depth (ImageNet, Places, CelebA-HQ and others as unpacked), a folder of
            .tar or .zip archives (WebDataset shards), one such archive, an STL-10 ``*_X.bin`` file, or a folder with
            such files. Files without a name ending count if they start like an image.

    Raises:
        TrainingError: The path is missing, unreadable, broken, of another kind, or contains no photo.
    """
    try:
        if path.is_dir():
            source = _open_folder(path)
        elif not path.exists():
            raise TrainingError(f"{path} does not exist: expected a folder of photos, a .tar or a .zip.")
        elif not path.is_file():
            raise TrainingError(f"{path} is a pipe or a device: expected a folder of photos, a .tar or a .zip.")
        elif path.suffix.lower() in ARCHIVE_SUFFIXES or is_compressed_tar(path):
            source = ArchiveSource(path)
        elif path.name in STL10_FILES:
            source = Stl10Source(path)
        else:
            raise TrainingError(
                f"{path} is a file of another kind: expected a folder, a .tar, a .zip or an STL-10 *_X.bin."
            )
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not source.names:
        raise TrainingError(f"{path} contains no photos: no member's name ends in {', '.join(sorted(SUFFIXES))}.")
    return source
