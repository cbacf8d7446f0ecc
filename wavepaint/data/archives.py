"""Random access to the members of tar and zip archives, without extracting them.

The process that opens an archive indexes it once. Reading a member opens the file, seeks once and closes it again.
Loader processes therefore share no handle, and thousands of shards never exceed the limit of open files. Tars are
usually WebDataset shards (https://github.com/webdataset/webdataset).
"""

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from wavepaint.errors import TrainingError

ARCHIVE_SUFFIXES = (".tar", ".zip")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")

MAX_MEMBER_BYTES = 2**29
"""Largest photo in an archive, packed or unpacked: 89 megapixels in uncompressed 16-bit RGB."""

_BLOCK = 512
_MAX_EXTENSION_BYTES = 2**20
_EXTENSIONS = (b"x", b"g", b"X", b"L", b"K")
"""Largest extended header of a tar member (a long name, times, attributes), and the types of such headers in the
formats of POSIX pax, Solaris and GNU."""
_MAX_DEFLATE_RATIO = 1032
"""Largest expansion of deflate: 258 bytes from 2 bits (RFC 1951)."""
_ZIP_HEADER = struct.Struct("<4s5H3I2H")
"""Local header of a zip member: signature, five fields, three sizes, lengths of the name and of the extra field
(APPNOTE.TXT 4.3.7)."""
_ENCRYPTED = 0x1


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: POSIX path in the archive, without a leading ``./``.
        offset: Offset of the content in a tar, of the local header in a zip.
        stored: Number of bytes in the archive.
        size: Number of bytes of the file.
        crc: CRC-32 of the file; -1 in a tar, which has none.
        deflated: Whether the bytes are compressed.
    """

    name: str
    offset: int
    stored: int
    size: int
    crc: int = -1
    deflated: bool = False


class _Header(tarfile.TarInfo):
    """A tar header that refuses an impossible size before anything is read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _MAX_EXTENSION_BYTES):
            raise tarfile.ReadError(f"a header declares {header.size} bytes")
        return header


def is_compressed_tar(path: Path) -> bool:
    return path.name.lower().endswith(COMPRESSED_TARS)


def index_archive(path: Path) -> Iterator[Member]:
    """Yield the files of a .tar or .zip, without folders and hidden files.

    Raises:
        TrainingError: The archive is broken, cut off, encrypted, or compressed in a way that prevents random access.
    """
    if is_compressed_tar(path):
        raise TrainingError(
            f"{path} is a compressed tar, which allows no access to single photos: unpack it, or convert it to a plain "
            ".tar (compression does not shrink JPEGs anyway)."
        )
    members = _index_zip(path) if path.suffix.lower() == ".zip" else _index_tar(path)
    for member in members:
        name = member.name.removeprefix("./")
        if not any(part.startswith(".") for part in name.split("/")):
            yield member._replace(name=name)


def _index_tar(path: Path) -> Iterator[Member]:
    try:
        with tarfile.open(path, "r:", tarinfo=_Header) as archive:
            place, num_bytes = 0, path.stat().st_size
            while (info := archive.next()) is not None:
                if archive.offset <= place:
                    raise tarfile.ReadError(f"the header at byte {place} leads back")
                place = archive.offset
                # Free the headers, which take a kilobyte each.
                archive.members = []  # type: ignore[attr-defined]
                if info.isreg() and not info.issparse():
                    if info.offset_data + info.size > num_bytes:
                        raise tarfile.ReadError(f"{info.name!r} declares {info.size} bytes, more than there are")
                    yield Member(info.name, info.offset_data, info.size, info.size)
            end = archive.offset
        # tarfile mistakes a damaged header for the end of the archive, which is a block of zeros.
        with path.open("rb") as stream:
            stream.seek(end)
            if stream.read(_BLOCK).strip(b"\0"):
                raise tarfile.ReadError(f"damaged header at byte {end}")
    except Exception as error:  # tarfile raises many kinds, such as RecursionError for an endless chain of headers
        raise _explain_unreadable(path, "tar", error) from error


def _explain_unreadable(path: Path, kind: str, error: Exception) -> TrainingError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return TrainingError(f"{path} cannot be read as a {kind} ({reason}): download or create it again.")


def _index_zip(path: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        num_bytes = path.stat().st_size
        for info in infos:
            # These bounds also limit the numbers to 63 bits.
            end, most = info.header_offset + info.compress_size, _MAX_DEFLATE_RATIO * info.compress_size
            if info.header_offset < 0 or end > num_bytes or info.file_size > most:
                raise zipfile.BadZipFile(f"{info.filename!r} declares more bytes than there are")
            if not info.filename:
                raise zipfile.BadZipFile("a member has no name")
    except Exception as error:  # zipfile raises many kinds
        raise _explain_unreadable(path, "zip", error) from error
    for info in infos:
        if info.is_dir():
            continue
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise TrainingError(
                f"{path}: {info.filename!r} is encrypted, or not compressed with deflate. Create the zip again without "
                "encryption and compression (zip -0)."
            )
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        yield Member(info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)


def read_member(path: Path, member: Member) -> bytes:
    """Return the content of a member.

    Raises:
        OSError: The archive cannot be read.
        ValueError: The content differs from the index, or is larger than :data:`MAX_MEMBER_BYTES`.
    """
    largest = max(member.stored, member.size)
    if largest > MAX_MEMBER_BYTES:
        raise ValueError(f"{largest >> 20} MiB, but a photo has at most {MAX_MEMBER_BYTES >> 20} MiB")
    with path.open("rb") as stream:
        stream.seek(member.offset)
        if member.crc >= 0:
            # Name and extra field may have other lengths here than in the index.
            header = stream.read(_ZIP_HEADER.size)
            if len(header) < _ZIP_HEADER.size or not header.startswith(b"PK\3\4"):
                raise ValueError(f"no member begins at byte {member.offset}")
            *_, name_length, extra_length = _ZIP_HEADER.unpack(header)
            stream.seek(name_length + extra_length, 1)
        content = stream.read(member.stored)
    if member.deflated:
        try:
            content = zlib.decompressobj(-15).decompress(content, member.size + 1)
        except zlib.error as error:
            raise ValueError(f"damaged member: {error}") from error
    if len(content) != member.size:
        raise ValueError(f"{len(content)} bytes, but {member.size} were expected")
    if member.crc >= 0 and zlib.crc32(content) != member.crc:
        raise ValueError("damaged member: wrong CRC-32")
    return content
