"""Writes the files of cases, and mixes made-up files with broken copies of valid ones."""

import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from tests.hostile import Case

Write = Callable[[Path], Path]


def write(name: str, make: Callable[[], bytes], folder: Path) -> Path:
    (folder / name).write_bytes(make())
    return folder / name


def write_pipe(name: str, folder: Path) -> Path:
    os.mkfifo(folder / name)
    return folder / name


def write_sparse(name: str, start: bytes, size: int, folder: Path) -> Path:
    path = write(name, lambda: start, folder)
    os.truncate(path, size)
    return path


def mix_cases(
    rng: random.Random,
    count: int,
    make: Callable[[random.Random], Iterable[tuple[str, Write]]],
    break_one: Callable[[int, random.Random], tuple[str, str, bytes]],
    every: int = 2,
) -> Iterator[Case]:
    """Yield ``count`` cases: one of ``every`` is a made-up file, the others are broken copies of valid files.

    Args:
        rng: Source of all random choices.
        count: Number of cases.
        make: Yields descriptions and writers of made-up files.
        break_one: Returns the description, the file name and the content of broken file ``number``.
        every: One of this many cases is made up.
    """
    made: list[tuple[str, Write]] = []
    for number in range(count):
        if number % every == 0:
            made = made or list(make(rng))
            yield Case(*made.pop(0))
        else:
            description, name, content = break_one(number, rng)
            yield Case(description, partial(write, name, partial(bytes, content)))
