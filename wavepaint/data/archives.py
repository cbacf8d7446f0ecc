"""Where the members of tar and zip archives lie, so that any of them can be read at once and nothing is extracted.

An archive is indexed once, in the process that opens it. A member is then read with one seek, through a file that is
opened for it alone: no handle is shared by loader processes, none is kept open, and a folder of thousands of shards
meets no limit. Tars are WebDataset shards as a rule (https://github.com/webdataset/webdataset).
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
"""Largest photo in an archive, packed and unpacked: what 89 megapixels take in 16-bit RGB without compression."""

_BLOCK = 512
_MAX_EXTENSION_BYTES = 2**20
_EXTENSIONS = (b"x", b"g", b"X", b"L", b"K")
"""Bound on what a tar says of a member ahead of its header (a long name, times, attributes), and the types of such
headers in POSIX's pax, Solaris' and GNU's format."""
_MAX_DEFLATE_RATIO = 1032
"""Bytes that one byte of deflate can stand for: 258 in 2 bits (RFC 1951)."""
_ZIP_HEADER = struct.Struct("<4s5H3I2H")
"""A zip member's own header: signature, five fields, three sizes, lengths of the name and of the extra field
(APPNOTE.TXT 4.3.7)."""
_ENCRYPTED = 0x1


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: Its name there, POSIX, without a leading ``./``.
        offset: Of the bytes in a tar; of the member's own header in a zip.
        stored: Bytes as they lie in the archive.
        size: Bytes of the file.
        crc: CRC-32 of the file, or -1 where the archive has none (tar).
        deflated: Whether the bytes are compressed.
    """

    name: str
    offset: int
    stored: int
    size: int
    crc: int = -1
    deflated: bool = False


class _Header(tarfile.TarInfo):
    """A tar's header, with a size that is refused before so much is read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _MAX_EXTENSION_BYTES):
            raise tarfile.ReadError(f"a header declares {header.size} bytes")
        return header


def is_compressed_tar(path: Path) -> bool:
    return path.name.lower().endswith(COMPRESSED_TARS)


def index_archive(path: Path) -> Iterator[Member]:
    """Yield the files of a .tar or .zip, hidden ones and folders left out.

    Raises:
        TrainingError: The archive is broken, cut off, encrypted or compressed in a way that has no random access.
    """
    if is_compressed_tar(path):
        raise TrainingError(
            f"{path} is a compressed tar: single photos cannot be read from it. Unpack it, or make a plain .tar of it "
            "(JPEGs do not get smaller anyway)."
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
                # Else all headers stay in memory, a kilobyte each.
                archive.members = []  # type: ignore[attr-defined]
                if info.isreg() and not info.issparse():
                    if info.offset_data + info.size > num_bytes:
                        raise tarfile.ReadError(f"{info.name!r} declares {info.size} bytes, more than there are")
                    yield Member(info.name, info.offset_data, info.size, info.size)
            end = archive.offset
        # tarfile takes a damaged header for the end of the archive; the end is a block of zeros.
        with path.open("rb") as stream:
            stream.seek(end)
            if stream.read(_BLOCK).strip(b"\0"):
                raise tarfile.ReadError(f"damaged header at byte {end}")
    except Exception as error:  # tarfile may fail in any way, such as in an endless chain of headers
        raise _unreadable(path, "tar", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> TrainingError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return TrainingError(f"{path} cannot be read as a {kind} ({reason}). Download or make it again.")


def _index_zip(path: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        num_bytes = path.stat().st_size
        for info in infos:
            # Also keeps the numbers to 63 bits.
            end, most = info.header_offset + info.compress_size, _MAX_DEFLATE_RATIO * info.compress_size
            if info.header_offset < 0 or end > num_bytes or info.file_size > most:
                raise zipfile.BadZipFile(f"{info.filename!r} declares more bytes than there are")
            if not info.filename:
                raise zipfile.BadZipFile("a member has no name")
    except Exception as error:  # zipfile may fail in any way
        raise _unreadable(path, "zip", error) from error
    for info in infos:
        if info.is_dir():
            continue
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise TrainingError(
                f"{path}: {info.filename!r} is encrypted, or compressed otherwise than with deflate. Make the zip "
                "again without either, best with nothing compressed (zip -0)."
            )
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        yield Member(info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)


def read_member(path: Path, member: Member) -> bytes:
    """Return a member's bytes.

    Raises:
        OSError: The archive cannot be read.
        ValueError: It does not hold what its index says, or more than :data:`MAX_MEMBER_BYTES`.
    """
    largest = max(member.stored, member.size)
    if largest > MAX_MEMBER_BYTES:
        raise ValueError(f"{largest >> 20} MiB, where a photo has at most {MAX_MEMBER_BYTES >> 20}")
    with path.open("rb") as stream:
        stream.seek(member.offset)
        if member.crc >= 0:
            # The header's own name and extra field may be longer or shorter than the index's.
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
        raise ValueError(f"{len(content)} bytes where {member.size} should be")
    if member.crc >= 0 and zlib.crc32(content) != member.crc:
        raise ValueError("damaged member: wrong CRC-32")
    return content
