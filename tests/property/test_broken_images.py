"""Broken files of every accepted format: each is a photo or an ImageError, soon and in little memory.

The mutations are drawn from a fixed seed. They run in processes of their own, so that a crash, a hang or a claim of
gigabytes fails a test and not the run; the processes have an address space of a limited size.
"""

import contextlib
import random
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.conftest import REPOSITORY
from tests.image_files import chunk, encoded, png, tiff
from wavepaint.errors import ImageError, OutputError, WavePaintWarning
from wavepaint.runtime.images import Photo, encode_photo, read_mask, read_photo

SEED = 20261121
MUTATIONS = 500
SECONDS_EACH = 10
MEMORY_EACH = 2**30
"""Bytes of decoding one file, above what the interpreter and its libraries take."""


def make_files() -> dict[str, bytes]:
    """Small valid files of every accepted format and kind."""
    rng = np.random.default_rng(SEED)
    ramp = np.add.outer(np.arange(48) * 3, np.arange(64) * 2)[..., None] + np.array([0, 20, 40])
    array = (ramp + rng.integers(0, 9, ramp.shape)).astype(np.uint8)
    deep = array.astype(np.uint16) * 250 + 7
    alpha = np.full((*array.shape[:2], 1), 200, np.uint8)
    image, grey = Image.fromarray(array), Image.fromarray(array[..., 0])
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "Maker", {0x9003: "2020:02:02 20:20:20"}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    everything = {"exif": exif.tobytes(), "icc_profile": profile, "dpi": (300, 300)}
    files = {
        "png": encoded(image, "PNG", **everything),
        "png-grey": encoded(grey, "PNG"),
        "png-alpha": encoded(Image.fromarray(np.dstack([array, alpha])), "PNG"),
        "png-grey-alpha": encoded(Image.fromarray(np.dstack([array[..., 0], alpha])), "PNG"),
        "png-palette": encoded(image.quantize(16), "PNG", transparency=3),
        "png-1-bit": encoded(grey.convert("1"), "PNG"),
        "png-16": encoded(Image.fromarray(deep[..., 0]), "PNG"),
        "png-16-colour": png(deep, chunk(b"eXIf", exif.tobytes()[6:])),
        "png-16-alpha": png(np.dstack([deep, deep[..., :1]])),
        "png-16-grey-alpha": png(np.ascontiguousarray(deep[..., :2])),
        "png-interlaced": png(array, interlaced=True),
        "png-16-interlaced": png(deep, interlaced=True),
        "jpeg": encoded(image, "JPEG", **everything),
        "jpeg-progressive": encoded(image, "JPEG", progressive=True, quality=60),
        "jpeg-grey": encoded(grey, "JPEG", optimize=True),
        "mpo": encoded(image, "MPO", save_all=True, append_images=[image]),
        "webp": encoded(image, "WEBP", exif=exif.tobytes(), icc_profile=profile),
        "webp-lossless": encoded(Image.fromarray(np.dstack([array, alpha])), "WEBP", lossless=True),
        "bmp": encoded(image, "BMP"),
        "bmp-palette": encoded(image.quantize(16), "BMP"),
        "gif": encoded(image.quantize(32), "GIF", transparency=1),
        "ppm": encoded(image, "PPM"),
        "tga": encoded(image, "TGA", compression="tga_rle"),
        "avif": encoded(image, "AVIF", exif=exif.tobytes()),
        "jp2": encoded(image, "JPEG2000"),
        "tiff": encoded(image, "TIFF", **everything),
        "tiff-16": tiff(deep[..., 0].copy()),
        "tiff-16-colour": tiff(deep, photometric="rgb", compression="zlib", predictor=True),
        "tiff-16-tiled": tiff(deep, photometric="rgb", tile=(16, 16)),
        "tiff-16-grey-alpha": tiff(deep[..., :2].copy(), photometric="minisblack", extrasamples=[2], planarconfig=1),
        "tiff-16-lzw": cv2.imencode(".tif", deep, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes(),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tiff-{compression}"] = encoded(image, "TIFF", compression=compression)
    files["tiff-group4"] = encoded(grey.convert("1"), "TIFF", compression="group4")
    return files


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_bits_of_the_head(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 2, 4])):
        data[rng.randrange(min(len(data), 160))] ^= 1 << rng.randrange(8)


def cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def erase(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice([1, 4, 32, 500])
    data[start : start + length] = bytes(len(data[start : start + length]))


def repeat(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice([1, 4, 32, 500])
    data[start:start] = data[start : start + length]


def swap(data: bytearray, rng: random.Random) -> None:
    length = rng.choice([2, 12, 100])
    first, second = sorted(rng.sample(range(len(data)), 2))
    a, b = data[first : first + length], data[second : second + length]
    if first + length <= second:
        data[second : second + length] = a
        data[first : first + length] = b


def lie(data: bytearray, rng: random.Random) -> None:
    """Put a huge number of two or four bytes, of either byte order, into the head or the tail."""
    number = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x10000, 13_000, 0x7FFFFFFF, 0xFFFFFFFF])
    size = 2 if number <= 0xFFFF and rng.random() < 0.7 else 4
    place = rng.randrange(min(200, len(data)))
    if rng.random() < 0.3:
        place = max(0, len(data) - 1 - place)
    data[place : place + size] = number.to_bytes(size, rng.choice(["big", "little"]))


def add_garbage(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice([1, 100, 5000]))


def rearrange_chunks(data: bytearray, rng: random.Random) -> None:
    """Move, drop, repeat or rewrite chunks of a PNG, with right checksums; another format is cut and joined anew."""
    if data[1:4] != b"PNG":
        middle = rng.randrange(len(data))
        data[:] = data[:8] + data[middle:] + data[8:middle]
        return
    chunks, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((bytes(data[place + 4 : place + 8]), bytearray(data[place + 8 : place + 8 + length])))
        place += length + 12
    for _ in range(rng.choice([1, 1, 2])):
        some = rng.randrange(len(chunks))
        kind, content = chunks[some]
        match rng.randrange(5):
            case 0:
                rng.shuffle(chunks)
            case 1:
                chunks.insert(rng.randrange(len(chunks)), chunks.pop(some))
            case 2:
                chunks.insert(some, (kind, bytearray(content)))
            case 3 if content:
                flip_bits_of_the_head(content, rng)
            case _ if content:
                lie(chunks[0][1] or content, rng)
    data[8:] = b"".join(chunk(kind, bytes(content)) for kind, content in chunks)


MUTATORS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits, flip_bits_of_the_head, cut_off, erase, repeat, swap, lie, lie, add_garbage, rearrange_chunks
)  # fmt: skip


def mutate(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name and the bytes of one broken file."""
    names = sorted(files)
    name = names[number % len(names)]
    rng = random.Random(SEED + number)
    data = bytearray(files[name])
    mutators = rng.choices(MUTATORS, k=rng.choice([1, 1, 2, 3]))
    for mutator in mutators:
        if data:
            mutator(data, rng)
    return f"{number} {name} {' '.join(mutator.__name__ for mutator in mutators)}", bytes(data)


def encode_if_possible(photo: Photo) -> None:
    """Encode a photo in its own format, whose EXIF or resolution may be what no file can hold."""
    with contextlib.suppress(OutputError):
        encode_photo(photo)


def check(name: str, data: bytes) -> str:
    """Decode a file as a photo and as a mask, write it if it is one, and return how that ended."""
    outcomes = []
    for read in (read_photo, read_mask):
        started = time.monotonic()
        try:
            result = read(data)
        except ImageError as error:
            message = str(error)
            assert "\n" not in message, f"{name}: {message!r}"
            assert message.endswith("."), f"{name}: {message!r}"
            outcomes.append("refused")
        else:
            pixels = result if isinstance(result, np.ndarray) else result.pixels
            assert pixels.dtype in (np.bool_, np.uint8, np.uint16), name
            assert 0 not in pixels.shape, name
            if isinstance(result, Photo):
                assert np.array_equal(read_photo(encode_photo(result, Path("a.png"))).pixels, pixels), name
                encode_if_possible(result)
            outcomes.append("read")
        seconds = time.monotonic() - started
        assert seconds < SECONDS_EACH, f"{name}: {seconds:.0f} s"
    assert outcomes[0] == outcomes[1], f"{name}: {outcomes}"
    return outcomes[0]


def main(first: int, step: int) -> None:
    """Check every ``step``-th mutation and print how many were refused and read."""
    files = make_files()
    for name, data in files.items():
        assert check(name, data) == "read", name
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_EACH,) * 2)
    warnings.simplefilter("ignore")  # Pillow's own; they are no exceptions here
    warnings.simplefilter("always", WavePaintWarning)
    counts = {"refused": 0, "read": 0}
    for number in range(first, MUTATIONS, step):
        name, data = mutate(number, files)
        print(name, file=sys.stderr, flush=True)  # the last line says what crashed
        counts[check(name, data)] += 1
    print(counts["refused"], counts["read"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of memory is set through /proc")
def test_500_broken_files_are_photos_or_image_errors() -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.property.test_broken_images", str(first), "2"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (0, 1)
    ]
    refused = read = 0
    try:
        for worker in workers:
            out, errors = worker.communicate(timeout=120)
            assert worker.returncode == 0, errors[-3000:]
            refused, read = refused + int(out.split()[0]), read + int(out.split()[1])
    finally:
        for worker in workers:
            worker.kill()
    assert refused + read == MUTATIONS
    assert min(refused, read) > MUTATIONS // 10  # both ends of the road are walked


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
