"""Hostile images: small files that cause unbounded work, paths that are not files, and broken files of every format."""

import io
import random
import struct
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from tests.hostile import Case
from tests.hostile.mutations import FOR_IMAGES
from tests.hostile.writing import Write, mix_cases, write, write_pipe, write_sparse
from tests.image_files import chunk, encoded, png, png_header, tiff
from wavepaint.runtime.images import read_mask, read_photo

SEED = 20261121


def read(path: Path) -> None:
    """Read a file as a photo and as a mask."""
    read_photo(path)
    read_mask(path)


def make_files() -> dict[str, bytes]:
    """Return small valid files of every accepted format and kind."""
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


def mutate(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name and the bytes of broken file ``number``."""
    names = sorted(files)
    name = names[number % len(names)]
    rng = random.Random(SEED + number)
    data = bytearray(files[name])
    mutators = rng.choices(FOR_IMAGES, k=rng.choice([1, 1, 2, 3]))
    for mutator in mutators:
        if data:
            mutator(data, rng)
    return f"{number} {name} {' '.join(mutator.__name__ for mutator in mutators)}", bytes(data)


def jpeg_of_scans(width: int, height: int, num_scans: int, *, progressive: bool = True) -> bytes:
    """Return a JPEG of many scans of a few bytes each. A sequential JPEG has one scan for each channel."""
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
    """Return a TIFF with one pixel a directory. The last directory points to none, or with ``endless`` to the first."""
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
    yield "pipe without a writer", partial(write_pipe, "image.png")
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
    """Yield made-up files, one of ten cases, and broken files of every accepted format."""

    def break_one(number: int, rng: random.Random) -> tuple[str, str, bytes]:
        name, data = mutate(seed * 1_000_000 + number, _files())
        return name, "image", data

    return mix_cases(random.Random(seed), count, _bombs, break_one, every=10)
