"""Hostile files, made from a seed. The tests read a few of each family; ``python -m tests.hostile`` reads many.

A family is a module of this package with two functions:

- ``make_cases(seed, count)`` yields :class:`Case` objects. The same arguments give the same cases.
- ``read(path)`` reads the file of a case through the public code.

``WAVEPAINT_EXAMPLES=10`` lets the tests read ten times as many files.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wavepaint.errors import WavePaintError

MAX_SECONDS = 10.0
"""Longest CPU time for reading one file. Unbounded work takes far longer, all other work far less."""


@dataclass(frozen=True)
class Case:
    """One hostile file.

    Attributes:
        name: Short description of what is wrong with the file.
        write: Writes the file into an empty folder and returns the path to read.
    """

    name: str
    write: Callable[[Path], Path]


def count_examples(default: int) -> int:
    """Return the number of files that a test reads: ``default`` times ``WAVEPAINT_EXAMPLES``."""
    return default * int(os.environ.get("WAVEPAINT_EXAMPLES", "1"))


def try_case(case: Case, read: Callable[[Path], object]) -> str:
    """Write and read a case; return "accepted", or the message of the refusal.

    Raises:
        AssertionError: The message has more than one line, or reading took longer than :data:`MAX_SECONDS`.
        Exception: Any exception that is not a :class:`WavePaintError`, the only kind of refusal.
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
