"""Refuse outputs that would replace an input or one another, before any work is done."""

import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wavepaint.atomic import create_probe, exists
from wavepaint.errors import OutputError, printable


class _Place(NamedTuple):
    """Where a path leads: the deepest part that exists, its device and inode, and the names below it."""

    folder: Path
    file: tuple[int, int]
    names: tuple[str, ...]

    @property
    def key(self) -> tuple[tuple[int, int], tuple[str, ...]]:
        """Equal for all paths that may lead to one file, even where the file system ignores case."""
        return self.file, tuple(name.casefold() for name in self.names)


def _locate(path: Path) -> _Place:
    names: list[str] = []
    file = (0, 0)
    for part in (path, *path.parents):
        try:
            found = part.stat()
        except OSError:
            names.insert(0, part.name)
        else:
            file = (found.st_dev, found.st_ino)
            break
    return _Place(part, file, tuple(names))


def _iterate_places(path: Path) -> Iterator[_Place]:
    """Yield the places of a path and of all folders above it."""
    place = _locate(path)
    for length in range(len(place.names), -1, -1):
        yield place._replace(names=place.names[:length])
    yield from map(_locate, place.folder.parents)


def _resolve(path: Path, real_folder: Callable[[Path], str]) -> Path | None:
    """Return a path without symbolic links, or None if its name is invalid. ``real_folder`` resolves its folder."""
    try:
        is_link = stat.S_ISLNK(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_link = False
    except (OSError, ValueError):
        return None
    plain = not is_link and path.name not in ("", "..")
    return Path(real_folder(path.parent), path.name) if plain else Path(os.path.realpath(path))


def check_outputs(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Refuse outputs that would replace an input or one another, under any name.

    Device and inode decide whether two paths lead to one file. This covers symbolic links, hard links, and names that
    differ only in case where the file system ignores case.

    Args:
        inputs: Files and folders that are read. A folder stands only for itself; list the files that are read from it.
        outputs: Files that are written, and folders that are replaced with all their content. Invalid names are left
            to the code that opens them.

    Raises:
        OutputError: An output is an input or another output, or contains one.
    """
    written: dict[object, list[tuple[_Place, Path]]] = {}
    real_folder, ignores_case = functools.cache(os.path.realpath), functools.cache(_ignores_case)

    def find_output(place: _Place) -> Path | None:
        for other, output in written.get(place.key, ()):
            if other.names == place.names or ignores_case(place.folder):
                return output
        return None

    @functools.cache
    def find_container(folder: Path) -> Path | None:
        """Return the output that is a folder or contains it."""
        return next(filter(None, map(find_output, _iterate_places(folder))), None)

    resolved = [(path, output) for output in outputs if (path := _resolve(output, real_folder)) is not None]
    for path, output in resolved:
        place = _locate(path)
        if other := find_output(place):
            raise _same_output(other, output)
        written.setdefault(place.key, []).append((place, output))
    for path, output in resolved:
        if other := find_container(path.parent):
            raise _same_output(other, output)
    for source in inputs:
        real = _resolve(source, real_folder)
        if real is not None and (other := find_output(_locate(real)) or find_container(real.parent)):
            problem = "is" if other == source else f"would replace {printable(source)}, which is"
            raise OutputError(f"{printable(other)} {problem} one of the inputs. Choose another name for the output.")


def _same_output(first: Path, second: Path) -> OutputError:
    return OutputError(
        f"{printable(first)} and {printable(second)} are one file, or one lies in the other, and both would be "
        "written. Give each output its own name."
    )


def _ignores_case(folder: Path) -> bool:
    """Return whether names in a folder that differ only in case are one file."""
    try:
        with create_probe(folder) as probe:
            return exists(probe.with_name(probe.name.upper()))
    except OSError:  # nothing can be written there anyway
        return False
