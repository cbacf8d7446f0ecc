"""Hostile images: work without a bound in few bytes, files that are none, and broken ones of every accepted format."""

import io
import random
import struct
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from PIL import Image

from tests.hostile import Case
from tests.hostile.writing import Write, mix_cases, write, write_pipe, write_sparse
from tests.image_files import chunk, encoded, png_header
from tests.property.test_broken_images import make_files, mutate
from wavepaint.runtime.images import read_mask, read_photo


def read(path: Path) -> None:
    """Read a file as a photo and as a mask."""
    read_photo(path)
    read_mask(path)


def jpeg_of_scans(width: int, height: int, num_scans: int, *, progressive: bool = True) -> bytes:
    """A JPEG of many scans of a few bytes each; a sequential one holds each channel in scans of its own."""
    data = encoded(Image.new("L", (width, height)), "JPEG", progressive=progressive)
    if progressive:
        start, end = data.rindex(b"\xff\xda"), len(data) - 2
        return data[:end] + data[start:end] * num_scans + data[end:]
    frame, start, end = data.index(b"\xff\xc0"), data.index(b"\xff\xda"), len(data) - 2
    channels = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    header = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + channels
    after = frame + 2 + int.from_bytes(data[frame + 2 : frame + 4], "big")
    scan = data[start : start + 12]
    scans = b"".join(scan[:5] + bytes([1 + number % 3]) + scan[6:] for number in range(num_scans))
    return data[:frame] + header + data[after:start] + scans + data[end:]


def tiff_of_directories(num_directories: int, *, endless: bool = False) -> bytes:
    """A TIFF of one pixel a directory; the last leads back to the first, or to a place that is none of a directory."""
    entries = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1)]
    body = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    size = 2 + len(body) + 4
    stream = io.BytesIO()
    stream.write(struct.pack("<2sHI", b"II", 42, 12) + bytes(4))
    for number in range(num_directories):
        following = 12 + size * (number + 1) if number < num_directories - 1 else 12 * endless
        stream.write(struct.pack("<H", len(entries)) + body + struct.pack("<I", following))
    return stream.getvalue()


def gif_of_frames(num_frames: int) -> bytes:
    data = encoded(Image.new("P", (1, 1)), "GIF")
    start = data.index(b",", 13 + 3 * (2 << (data[10] & 7)))
    return data[:start] + data[start:-1] * num_frames + b";"


def large_mask(side: int, mode: str) -> bytes:
    return encoded(Image.new(mode, (side, side)), "PNG", compress_level=1)


def png_of_chunks(kind: bytes, content: bytes, number: int) -> bytes:
    data = encoded(Image.new("RGB", (8, 8)), "PNG")
    return data[:33] + chunk(kind, content) * number + data[33:]


def jpeg_of_segments(marker: int, content: bytes, number: int) -> bytes:
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content
    return data[:2] + segment * number + data[2:]


def _write_device(device: str, folder: Path) -> Path:
    (folder / "image.png").symlink_to(device)
    return folder / "image.png"


_files = cache(make_files)


def _bombs(rng: random.Random) -> Iterator[tuple[str, Write]]:
    side, many = rng.randrange(500, 4000), rng.randrange(5000, 100_000)
    yield (
        f"progressive JPEG of {side} pixels, {many} scans",
        partial(write, "image", partial(jpeg_of_scans, side, side, many)),
    )
    few = rng.randrange(2, 12)
    yield f"JPEG of {side} pixels, {few} scans", partial(write, "image", partial(jpeg_of_scans, side, side, few))
    scans = partial(jpeg_of_scans, side, side, many, progressive=False)
    yield f"sequential JPEG of {side} pixels, {many} scans", partial(write, "image", scans)
    number, endless = rng.randrange(2, 200_000), rng.random() < 0.5
    directories = partial(tiff_of_directories, number, endless=endless)
    yield f"TIFF of {number} directories, {endless=}", partial(write, "image", directories)
    yield f"GIF of {number} frames", partial(write, "image", partial(gif_of_frames, number))
    yield "pipe that nobody writes to", partial(write_pipe, "image.png")
    device = rng.choice(["/dev/zero", "/dev/null", "/dev/urandom", "/dev/full"])
    yield device, partial(_write_device, device)
    name = rng.choice(sorted(_files()))
    cut = rng.randrange(8, len(_files()[name]))
    yield (
        f"sparse {name} from byte {cut}",
        partial(write_sparse, "image", _files()[name][:cut], rng.randrange(2**32, 2**37)),
    )
    width, height = rng.randrange(1, 2**31), rng.randrange(1, 2**31)
    yield f"PNG that claims {width}x{height}", partial(write, "image", partial(png_header, width, height))
    kind = rng.choice(
        [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"tRNS", b"PLTE", b"IDAT", b"abcd"]
    )
    content, number = rng.randbytes(rng.choice([0, 1, 26, 300])), rng.randrange(1, 20_000)
    yield f"PNG of {number} chunks {kind!r}", partial(write, "image", partial(png_of_chunks, kind, content, number))
    marker, number = rng.choice([*range(0xE0, 0xF0), 0xFE, 0xDB, 0xC4, 0xDD, 0xC0]), rng.randrange(1, 500)
    content = rng.choice(
        [b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"MPF\0II*\0", b"JFIF\0", b"Adobe", b"Photoshop 3.0\0", b""]
    )
    content += rng.randbytes(rng.choice([0, 20, 60_000]))
    segments = partial(jpeg_of_segments, marker, content, number)
    yield f"JPEG of {number} segments {marker:x} {content[:8]!r}", partial(write, "image", segments)
    side, mode = rng.randrange(64, 3000), rng.choice(["1", "L", "P", "RGB", "RGBA", "I;16"])
    yield f"mask of {side} pixels, {mode}", partial(write, "image", partial(large_mask, side, mode))


def make_cases(seed: int, count: int) -> Iterator[Case]:
    """Yield every tenth a file of unbounded work or of another kind, and mutations of valid files between them."""

    def break_one(number: int, rng: random.Random) -> tuple[str, str, bytes]:
        name, data = mutate(seed * 1_000_000 + number, _files())
        return name, "image", data

    return mix_cases(random.Random(seed), count, _bombs, break_one, every=10)
