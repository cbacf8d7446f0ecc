"""Ways to break a file: each changes the bytes in place, by choices of a random generator."""

import random
from collections.abc import Callable

from tests.image_files import chunk


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
    """Overwrite two or four bytes of the head or the tail with a number, often a huge one, in either byte order."""
    number = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x10000, 13_000, 0x7FFFFFFF, 0xFFFFFFFF])
    size = 2 if number <= 0xFFFF and rng.random() < 0.7 else 4
    place = rng.randrange(min(200, len(data)))
    if rng.random() < 0.3:
        place = max(0, len(data) - 1 - place)
    data[place : place + size] = number.to_bytes(size, rng.choice(["big", "little"]))


def add_garbage(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice([1, 100, 5000]))


def rearrange_chunks(data: bytearray, rng: random.Random) -> None:
    """Move, repeat or rewrite chunks of a PNG, with correct checksums; in other formats, swap two parts."""
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


Mutator = Callable[[bytearray, random.Random], None]

GENERAL: tuple[Mutator, ...] = (flip_bits, flip_bits_of_the_head, cut_off, erase, repeat, swap, add_garbage)
"""For files of any format."""

FOR_IMAGES: tuple[Mutator, ...] = (
    flip_bits, flip_bits_of_the_head, cut_off, erase, repeat, swap, lie, lie, add_garbage, rearrange_chunks
)  # fmt: skip
