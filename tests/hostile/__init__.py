"""Hostile files, made from a seed. The tests read a few of each family, ``python -m tests.hostile`` reads many.

A family is a module of this package with two functions:

- ``make_cases(seed, count)`` yields :class:`Case` objects, the same ones for the same arguments.
- ``read(path)`` reads what a case wrote, through the code that users reach.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wavepaint.errors import WavePaintError

MAX_SECONDS = 10.0
"""Most processor time that reading one file may take. It tells work that has a bound from work that has none."""


@dataclass(frozen=True)
class Case:
    """One hostile file.

    Attributes:
        name: What is wrong with it.
        write: Writes it into an empty folder and returns the path to read.
    """

    name: str
    write: Callable[[Path], Path]


def try_case(case: Case, read: Callable[[Path], object]) -> str:
    """Write and read a case; return "accepted", or the one line it was refused with.

    Raises:
        AssertionError: The message has more than one line, or reading took more than :data:`MAX_SECONDS`.
        Exception: What the reader let through; only a :class:`WavePaintError` is a refusal.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = case.write(Path(folder))
        started = time.process_time()
        try:
            read(path)
            outcome = "accepted"
        except WavePaintError as error:
            outcome = str(error)
        seconds = time.process_time() - started
    assert len(outcome.splitlines()) == 1, f"{case.name}: {outcome!r}"
    assert seconds <= MAX_SECONDS, f"{case.name}: {seconds:.1f} s"
    return outcome
