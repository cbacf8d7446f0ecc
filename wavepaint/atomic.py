"""Write files and folders that appear complete or not at all.

A result is written under a temporary name beside its final place and renamed once it is complete. An exception, a full
disk or Ctrl-C therefore never leaves half a file, and an earlier file stays intact until it is replaced.

Temporary names are short and used only by this module (``.wp-0123456789abcdef.png``). A process holds a lock on each of
its temporaries. The temporaries of a killed process have no lock, so the next process that writes into the same folder
removes them.
"""

import errno
import functools
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wavepaint.errors import OutputError, printable

if sys.platform != "win32":
    import fcntl

_PREFIX = ".wp-"
_FORMER = "-former"
_TEMPORARY = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}(\.[^.]*)?")
_MAX_SUFFIX = 16
"""Longest suffix that a temporary name keeps. File systems allow about 255 bytes for the whole name."""

_OLD_S = 86_400.0
"""Age, in seconds, at which a temporary counts as abandoned on a file system without locks."""

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def _cannot_write(path: Path, error: OSError | ValueError) -> OutputError:
    return OutputError(f"cannot write {printable(path)}: {getattr(error, 'strerror', None) or error}.")


@contextmanager
def _blame(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def exists(path: Path) -> bool:
    """Return whether a file or folder exists. Invalid names do not exist, although ``Path.exists`` raises for some."""
    return os.path.exists(path)  # noqa: PTH110


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a file or folder that cannot be written, before any work is done.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, a file is in the way, the name is invalid, it is a
            device or a pipe, or the folder cannot be written.
    """
    _check_free(path, overwrite)
    folder = _follow_link(path).parent
    existing = next(part for part in (folder, *folder.absolute().parents) if exists(part))
    with _blame(path), create_probe(existing):
        pass


def _check_free(path: Path, overwrite: bool) -> int | None:
    """Return the mode of the file or folder that would be replaced; None if there is none."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        file = next(part for part in path.parents if exists(part))
        raise OutputError(f"cannot write {printable(path)}: {printable(file)} is a file, not a folder.") from error
    except (OSError, ValueError) as error:  # too long, without permission, or with a NUL
        raise _cannot_write(path, error) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OutputError(f"cannot write {printable(path)}: it is a device, a pipe or a socket. Name a file.")
    if not overwrite:
        raise OutputError(f"{printable(path)} exists already. Choose another name or pass --overwrite to replace it.")
    return mode


def _follow_link(path: Path) -> Path:
    """Return what is written in the place of a path: what it points to, if it is a link."""
    return path.resolve() if path.is_symlink() else path


@contextmanager
def create_probe(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary file in a folder, and remove it.

    Raises:
        OSError: The folder cannot be written.
    """
    temporary, lock = _create(folder, _create_file)
    try:
        yield temporary
    finally:
        temporary.unlink()
        _release(lock)


@contextmanager
def write_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path. On a clean exit it becomes ``path``; on an exception it is removed.

    Missing parent folders are created. The temporary name keeps the suffix, because some writers choose the format by
    it. If ``path`` is a link, the file that it points to is replaced. A replaced file passes its permissions on.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, or it cannot be written. An OSError in the caller's
            block becomes an OutputError only if it concerns the temporary path or a full disk.
    """
    former = _check_free(path, overwrite)
    if path.is_dir():
        raise OutputError(f"cannot write {printable(path)}: it is a folder. Give a file name.")
    path = _follow_link(path)
    suffix = path.suffix if len(path.suffix) <= _MAX_SUFFIX else ""
    with _temporary(path, _create_file, suffix) as temporary:
        try:
            if former is not None:
                with suppress(OSError):  # some file systems have no permissions
                    temporary.chmod(stat.S_IMODE(former) | stat.S_IRUSR | stat.S_IWUSR)
            yield temporary
            _check_free(path, overwrite)  # another process may have created it meanwhile
            with _blame(path):
                with temporary.open("rb+") as stream:
                    os.fsync(stream.fileno())
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder. On a clean exit it becomes ``path``; on an exception it is removed.

    An earlier folder is moved aside, and removed once the new one has its name. If ``path`` is a link, the folder that
    it points to is replaced.

    Raises:
        OutputError: As :func:`write_file`.
    """
    _check_free(path, overwrite)
    if path.exists() and not path.is_dir():
        raise OutputError(f"cannot write the folder {printable(path)}: a file of that name is in the way.")
    path = _follow_link(path)
    with _temporary(path, Path.mkdir) as temporary:
        former = temporary.with_name(temporary.name + _FORMER)
        try:
            yield temporary
            _check_free(path, overwrite)
            with _blame(path):
                if path.exists():
                    path.rename(former)
                temporary.rename(path)
        finally:
            _clear(path, temporary, former)


def _clear(path: Path, temporary: Path, former: Path) -> None:
    """Remove the temporaries of a replacement, or restore the earlier folder if the new one is not in place."""
    if former.exists() and not path.exists():
        try:
            former.rename(path)
        except OSError as error:
            raise OutputError(
                f"{printable(path)} could not be replaced ({error.strerror or error}). The earlier folder is now "
                f"{printable(former)}, the new one {temporary.name}: rename the one you want."
            ) from error
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)


@contextmanager
def _temporary(path: Path, create: Callable[[Path], None], suffix: str = "") -> Iterator[Path]:
    """Yield a locked temporary beside ``path``. OSErrors that concern it become OutputErrors."""
    with _blame(path):
        if not exists(path.parent):
            for folder in reversed(path.parents):  # parents=True would recurse once for each of them
                folder.mkdir(exist_ok=True)
        _remove_leftovers(path.parent.resolve())
        temporary, lock = _create(path.parent, create, suffix)
    try:
        yield temporary
    except OSError as error:
        if error.errno in _DISK_ERRORS or _concerns(error, temporary):
            raise _cannot_write(path, error) from error
        raise
    finally:
        _release(lock)


def _concerns(error: OSError, temporary: Path) -> bool:
    """Return whether an error names a temporary or a path inside it."""
    named = (name for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike))
    return any(Path(os.fsdecode(name)).is_relative_to(temporary) for name in named)


def _create_file(path: Path) -> None:
    # The system applies the umask. A process can only read the umask by changing it, for all of its threads.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _create(folder: Path, create: Callable[[Path], None], suffix: str = "") -> tuple[Path, int | None]:
    """Return a new temporary and its lock."""
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{suffix}"
        create(path)
        try:
            lock = _lock(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process removed it as abandoned before it was locked
        if path.exists():
            return path, lock
        _release(lock)


def _lock(path: Path) -> int | None:
    """Lock a file or folder until the returned handle is closed or the process ends. Return None if locks do not work.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    if sys.platform == "win32":  # a locked file cannot be renamed there
        return None
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:  # some network file systems
        os.close(handle)
        return None
    return handle


def _release(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


@functools.cache  # once for each folder, because listing a large one takes a while
def _remove_leftovers(folder: Path) -> None:
    """Remove the temporaries of killed processes, and no others."""
    names: set[str] = set()
    with suppress(OSError), os.scandir(folder) as entries:
        names = {entry.name for entry in entries if entry.name.startswith(_PREFIX)}
    for name in filter(_TEMPORARY.fullmatch, names):
        if name + _FORMER in names:  # killed between the two renames of write_folder: the user must choose
            continue
        path = folder / name
        with suppress(OSError):  # locked by a running process, or owned by another user
            lock = _lock(path)
            try:
                if lock is None and time.time() - path.lstat().st_mtime < _OLD_S:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                _release(lock)
