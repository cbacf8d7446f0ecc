"""Files and folders that appear whole or not at all.

A result is written beside its final place under a temporary name and renamed once it is complete, so that neither
an exception, nor a full disk, nor Ctrl-C leaves half a file, and a former file stays intact until it is replaced.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavepaint.errors import OutputError


def check_target(path: Path, overwrite: bool, flag: str = "--overwrite") -> None:
    """Refuse, before any work is done, a file or folder that could not be written after it.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, or a file is in the way.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Choose another name or pass {flag} to replace it.")
    parent = path.parent
    for folder in (parent, *parent.parents):
        if folder.exists():
            if not folder.is_dir():
                raise OutputError(f"cannot write {path}: {folder} is a file, not a folder.")
            break


@contextmanager
def write_file(path: Path, *, overwrite: bool = False, flag: str = "--overwrite") -> Iterator[Path]:
    """Yield a temporary path; on a clean exit it becomes ``path``, on an exception it is removed.

    Missing parent folders are made. The temporary name keeps the suffix, since some writers choose the format by it.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, or it cannot be written.
    """
    check_target(path, overwrite, flag)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder. Give a file name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; a result should have the permissions of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(path: Path, *, overwrite: bool = False, flag: str = "--overwrite") -> Iterator[Path]:
    """Yield a temporary folder; on a clean exit it becomes ``path``, on an exception it is removed.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, or it cannot be written.
    """
    check_target(path, overwrite, flag)
    if path.exists() and not path.is_dir():
        raise OutputError(f"cannot write the folder {path}: a file of that name is in the way.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    former = temporary.with_name(temporary.name + ".former")
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if path.exists():
            path.rename(former)
        try:
            temporary.rename(path)
        except OSError:
            if former.exists():
                former.rename(path)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
