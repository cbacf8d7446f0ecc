"""Lists of photos and their masks: CSV with a header, or JSON lines."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from wavepaint.atomic import exists
from wavepaint.errors import ImageError, printable

LIST_SUFFIXES = (".csv", ".jsonl")

_NEEDED, _KNOWN = ("image", "mask"), ("image", "mask", "out")
_EXPECTED = "image, mask and, optionally, out"
_MAX_SHOWN = 60


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a list.

    Its text is UTF-8, with or without a byte order mark. In CSV the header may have capitals, and semicolons or tabs in
    place of commas; if spaces follow these in the header, they are no part of the fields below it. Rows without any
    text are skipped.

    Args:
        path: A file with one of :data:`LIST_SUFFIXES`.

    Yields:
        The place of a row, for messages, and the row: ``image``, ``mask`` and, if the row has one, ``out``. All of them
        are names that a file can have.

    Raises:
        ImageError: The list cannot be read, its header or a row lacks ``image`` or ``mask``, or either has what this
            function does not know.
    """
    name = printable(path)
    text = _read_text(path)
    for number, row in (_read_csv if path.suffix.lower() == ".csv" else _read_json_lines)(text, name):
        place = f"line {number} of {name}"
        if not isinstance(row, Mapping) or not all(map(row.get, _NEEDED)):
            raise ImageError(f"{place} does not name an image and a mask: expected {_EXPECTED}.")
        _refuse_unknown(row, place)
        yield place, {key: _check_name(value, place) for key, value in row.items() if key in _NEEDED or value}


def _read_text(path: Path) -> str:
    name = printable(path)
    if not exists(path):
        raise ImageError(f"the list {name} does not exist.")
    if not path.is_file():
        raise ImageError(f"the list {name} is neither a file nor a folder: expected a file.")
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise ImageError(f"the list {name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ImageError(f"the list {name} is not UTF-8 text: save it as UTF-8.") from error


def _read_csv(text: str, name: str) -> Iterator[tuple[int, object]]:
    """Yield the number and content of each row below the header."""
    first = next(filter(str.strip, text.splitlines()), "")
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=f"{delimiter} " in first)
    columns: list[str] = []
    try:
        for row in filter(any, reader):
            place = f"line {reader.line_num} of {name}"
            if not columns:
                columns = _check_header(row, place)
            elif any(row[len(columns) :]):
                raise ImageError(
                    f"{place} has {len(row)} fields, and the header {len(columns)} columns. Put a name that contains "
                    f"{_shorten(delimiter)} in double quotes."
                )
            else:
                yield reader.line_num, dict(zip(columns, row, strict=False))
    except csv.Error as error:
        raise ImageError(f"line {reader.line_num} of {name} is not CSV: {error}.") from error


def _check_header(header: list[str], place: str) -> list[str]:
    """Return the names of the columns in lower case, without empty ones at the end."""
    columns = [column.strip().lower() for column in header]
    while columns and not columns[-1]:
        columns.pop()
    if not {*_NEEDED} <= {*columns}:
        raise ImageError(f"{place} is {_shorten(header)}: expected the names of the columns, {_EXPECTED}.")
    _refuse_unknown(columns, place)
    if len({*columns}) < len(columns):
        raise ImageError(f"{place} names a column twice: expected {_EXPECTED}.")
    return columns


def _read_json_lines(text: str, name: str) -> Iterator[tuple[int, object]]:
    """Yield the number and content of each line that is not blank."""
    # Not splitlines, which also splits at characters that may occur in a JSON string, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ImageError(f"line {number} of {name} is not JSON: {error}.") from error


def _refuse_unknown(columns: list[str] | Mapping[str, object], place: str) -> None:
    unknown = next((column for column in columns if column not in _KNOWN), None)
    if unknown is not None:
        raise ImageError(f"{place} has the unknown column {_shorten(unknown)}: expected {_EXPECTED}.")


def _check_name(name: object, place: str) -> str:
    """Return a path from a list, if a file can have that name."""
    try:
        if isinstance(name, str) and b"\0" not in os.fsencode(name):
            return name
    except UnicodeEncodeError:  # a lone surrogate
        pass
    raise ImageError(f"{place} has {_shorten(name)} where a file name is expected.")


def _shorten(value: object) -> str:
    shown = ascii(value)
    return f"{shown[:_MAX_SHOWN]}{'...' * (len(shown) > _MAX_SHOWN)}"
