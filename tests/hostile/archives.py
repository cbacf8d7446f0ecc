"""Hostile archives of photos: endless headers, headers that point back, missing members, compression bombs."""

import io
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from PIL import Image

from tests.hostile import Case
from tests.hostile.images import jpeg_of_scans, tiff_of_directories
from tests.hostile.mutations import GENERAL
from tests.hostile.writing import Write, mix_cases, write, write_pipe, write_sparse
from tests.image_files import encoded, png_header
from wavepaint.data.sources import STL10_FILES, open_source

MAX_READ = 20


def read(path: Path) -> None:
    """Open a source, describe it, and read some of its photos."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from Pillow, about large or broken photos
        source = open_source(path)
        source.describe()
        for name in source.names[:MAX_READ]:
            source.measure(name)
            source.read(name)


@cache
def photo() -> bytes:
    return encoded(Image.new("RGB", (8, 6), (1, 2, 3)), "PNG")


def tar_header(
    name: str, size: int, kind: bytes = tarfile.REGTYPE, *, checksum: bool = True, number: bytes | None = None
) -> bytes:
    """Return a tar header of any size. Negative and huge sizes are in base 256. ``number`` replaces the size field."""
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = number or (b"%011o\0" % size if 0 <= size < 8**11 else size.to_bytes(12, "big", signed=True))
    if number is None and size >= 8**11:
        header[124] |= 0x80
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header) if checksum else b"000000\0 "
    return bytes(header)


def tar_member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return tar_header(name, len(content), kind) + content + bytes(-len(content) % 512)


def pax(**entries: str) -> bytes:
    """Return a pax header, which extends the next member."""
    records = b""
    for key, value in entries.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length += 1
        records += str(length).encode() + body
    return tar_member("pax", records, tarfile.XHDTYPE)


def tar_chain(kind: bytes, number: int, size: int = 100) -> bytes:
    """Return headers that each extend the next one, and a photo."""
    content = b"a" * size if kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK) else b""
    return tar_member("x", content, kind) * number + tar_member("a.png", photo()) + bytes(1024)


def make_zip(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)  # without a timestamp
    return stream.getvalue()


def lying_zip(numbers: dict[int, int], content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip whose directory has wrong 4-byte numbers at some positions of its first entry."""
    data = bytearray(make_zip({"a.png": content}, compression))
    entry = data.rindex(b"PK\1\2")
    for place, number in numbers.items():
        data[entry + place : entry + place + 4] = struct.pack("<I", number)
    return bytes(data)


def zip_bomb(num_mib: int, declared: int | None = None) -> bytes:
    """Return a zip with ``num_mib`` MiB of zeros, compressed to a thousandth, that declares any size."""
    packer = zlib.compressobj(wbits=-15)
    packer.compress(bytes(2**20))
    packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    sizes = {10: zipfile.ZIP_DEFLATED, 24: num_mib << 20 if declared is None else declared}
    return lying_zip(sizes, block * num_mib + b"\3\0", zipfile.ZIP_STORED)


def make_tar(members: dict[str, bytes], tar_format: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tar_format) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@cache
def whole_files() -> dict[str, bytes]:
    """Return valid archives of every kind."""
    members = {"a.png": photo(), f"{'long' * 40}/b.jpg": encoded(Image.new("L", (9, 9)), "JPEG"), "ä.png": photo()}
    return {
        "gnu.tar": make_tar(members, tarfile.GNU_FORMAT),
        "pax.tar": make_tar(members, tarfile.PAX_FORMAT),
        "deflated.zip": make_zip(members),
        "stored.zip": make_zip(members, zipfile.ZIP_STORED),
        STL10_FILES[0]: bytes(range(256)) * 108 * 2,
    }


def _made(rng: random.Random) -> Iterator[tuple[str, Write]]:
    def tar(content: bytes) -> Write:
        return partial(write, "photos.tar", lambda: content)

    def zipped(make: Callable[[], bytes]) -> Write:
        return partial(write, "photos.zip", make)

    size = rng.choice([-1, -512, -1024, -(2**40), 2**33, 2**62, 2**63, 2**80, 10**10])
    kind = rng.choice([b"0", b"x", b"g", b"L", b"K", b"S", b"X", b"5", b"2", b"D", b"\xff"])
    first = tar_member("a.png", photo())
    yield f"tar header {kind!r} of {size} bytes", tar(first + tar_header("b.png", size, kind) + photo())
    yield f"first tar header {kind!r} of {size} bytes", tar(tar_header("b.png", size, kind) + first)
    number = rng.choice(
        [b"-0000001000\0", b"99999999999\0", b"           \0", b"\xff" * 12, b"+1 000\0\0\0\0\0\0", b"0x10" * 3]
    )
    yield f"tar header of {number!r} bytes", tar(first + tar_header("b.png", 0, number=number) + photo())
    chained, length = rng.choice([b"x", b"g", b"L", b"K", b"X"]), rng.choice([10, 200, 3000, 30_000])
    long = rng.choice([0, 100, 2000])
    yield f"{length} chained headers {chained!r}", tar(tar_chain(chained, length, long))
    key = rng.choice(["size", "path", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "mtime", "hdrcharset"])
    entry = rng.choice(
        ["-512", "-1536", "-1", "10000000000", "1e400", "nan", "x", "", "1" * 5000, "0,1" * 999, "BINARY", "\u2028"]
    )
    entries = {key: entry, "GNU.sparse.minor": "0"}
    yield f"pax {key} {entry:.20}", tar(pax(**entries) + first + first + bytes(1024))
    start = first + tar_header("b.png", 10 * 2**30)
    yield "tar with a member of 10 GiB that is there", partial(write_sparse, "photos.tar", start, 11 * 2**30)
    start = first + tar_header("b.png", rng.randrange(2**31, 2**34), rng.choice(_EXTENSION_KINDS))
    yield "tar with a name of gigabytes that is there", partial(write_sparse, "photos.tar", start, 20 * 2**30)
    num_mib, declared = rng.choice([16, 80, 600, 4095]), rng.choice([None, None, 0, 1000])
    yield f"zip bomb of {num_mib} MiB, {declared=}", zipped(partial(zip_bomb, num_mib, declared))
    place, value = rng.choice([16, 20, 24, 42]), rng.choice([0, 1, 2**20, 2**31, 2**32 - 2, 2**32 - 1])
    compression = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    yield (
        f"zip whose directory has {value} at {place}",
        zipped(partial(lying_zip, {place: value}, photo(), compression)),
    )
    yield (
        "zip with a member of 4 GiB by its directory",
        zipped(partial(lying_zip, {20: 2**32 - 2, 24: 2**32 - 2}, photo())),
    )
    name = rng.choice(["a\nb.png", "a\u2028b.png", "../../b.png", "/etc/b.png", "\x1b[2J.png", "a" * 60_000 + ".png"])
    yield f"zip with a photo named {name[:20]!r}", zipped(partial(make_zip, {name: b"no photo"}))
    yield f"tar with a photo named {name[:20]!r}", tar(make_tar({name: b"no photo"}, tarfile.PAX_FORMAT))
    bad: bytes = rng.choice(
        [png_header(50_000, 50_000), jpeg_of_scans(3000, 3000, 9000), tiff_of_directories(9000), b"%!PS-Adobe-3.0", b""]
    )
    yield (
        "zip with a photo of unbounded work",
        zipped(partial(make_zip, {rng.choice(["a.png", "a.jpg", "a.tif"]): bad})),
    )
    suffix = rng.choice(["photos.tar", "photos.zip", *STL10_FILES])
    yield f"pipe {suffix}", partial(write_pipe, suffix)
    size = rng.choice([27648, 27648 * 10**4, 27648 * 10**6 + 27648, 27648 * 10**8, 27649])
    yield f"sparse STL-10 file of {size} bytes", partial(write_sparse, STL10_FILES[0], b"", size)
    name, data = rng.choice(sorted(whole_files().items()))
    yield f"sparse {name}", partial(write_sparse, name, data[: rng.randrange(len(data))], rng.randrange(2**33, 2**37))


_EXTENSION_KINDS = (b"x", b"g", b"L", b"K", b"X")


def _break_one(number: int, rng: random.Random) -> tuple[str, str, bytes]:
    """Break a valid archive. In most tars the header checksums are corrected afterwards."""
    name = rng.choice(sorted(whole_files()))
    data = bytearray(whole_files()[name])
    for mutator in rng.choices(GENERAL, k=rng.choice([1, 1, 2])):
        if data:
            mutator(data, rng)
    if name.endswith(".tar") and rng.random() < 0.8:
        for start in range(0, len(data) - 511, 512):
            if data[start + 257 : start + 262] == b"ustar":
                data[start + 148 : start + 156] = b" " * 8
                data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return f"{number} broken {name}", name, bytes(data)


def make_cases(seed: int, count: int) -> Iterator[Case]:
    """Yield made-up archives and broken copies of valid ones in turn."""
    return mix_cases(random.Random(seed), count, _made, _break_one)
