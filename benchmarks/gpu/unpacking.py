"""Checking archives in pieces and unpacking them, each whole or not at all. Standard library alone.

What was unpacked is found behind the host's own packages: its numpy, ONNX Runtime or PyTorch may be made for the host's
processor and GPU, and only what it lacks is to be added. ``PYTHONPATH`` comes before them, and so leads to a folder
with nothing but a module that Python runs when it starts, which puts the unpacked folders at the end of ``sys.path``.
"""

import hashlib
import importlib.metadata
import io
import lzma
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from benchmarks.gpu.pieces import Archive, PackError, PieceReader, read_manifest, whole_folder

MARK = ".unpacked-sha256"
CHECKOUT = Path(__file__).resolve().parent.parent.parent
STARTUP = "startup"
"""The folder of that module, beside the archives."""


def _check_pieces(archive: Archive, folder: Path) -> None:
    whole = hashlib.sha256()
    for piece in archive.pieces:
        content = (folder / piece.name).read_bytes()
        if len(content) != piece.num_bytes or hashlib.sha256(content).hexdigest() != piece.sha256:
            raise PackError(
                f"{folder / piece.name} is damaged: {len(content)} bytes, expected {piece.num_bytes} of sha256 "
                f"{piece.sha256[:12]}... Copy it again."
            )
        whole.update(content)
    if whole.hexdigest() != archive.sha256:
        raise PackError(f"the pieces of {archive.name} are not one archive: its sha256 differs. Pack again.")


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Write an archive's files below a new folder: plain ones alone, which is what packing makes.

    ``tarfile``'s own filter would do, but Python 3.11.3 and older have none.

    Raises:
        TarError: An entry is something else, or leads out of the folder.
    """
    for entry in tar:
        content, path = tar.extractfile(entry) if entry.isreg() else None, PurePosixPath(entry.name)
        if content is None or path.is_absolute() or ".." in path.parts:
            raise tarfile.TarError(f"{entry.name!r} is no plain file below its folder")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(content, file)


def unpack(folder: Path, site: Path, *, any_python: bool = False, required: Iterable[str] = ()) -> list[str]:
    """Unpack every archive that is whole into a folder of its own below ``site``, which appears whole or not at all.

    Args:
        folder: What packing wrote, or a part of its pieces with the manifest.
        site: Where to; what was unpacked there before from the same archive is left as it is.
        any_python: Unpack for another version of Python than this one.
        required: Names of archives without which it is an error.

    Returns:
        Names of the archives that lie in ``site``.

    Raises:
        PackError: A damaged piece, another Python, nothing to unpack, or a required archive that is not whole.
    """
    python, archives = read_manifest(folder)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python != here and not any_python:
        raise PackError(f"{folder} is for Python {python}, this is {here}. Pack with --python {here}, or run another.")
    there = []
    for archive in archives:
        missing = [piece.name for piece in archive.pieces if not (folder / piece.name).is_file()]
        target = site / archive.name
        mark = target / MARK
        if mark.is_file() and mark.read_text() == archive.sha256:
            there.append(archive.name)
        elif missing:
            print(f"left out: {archive.name}, of which {', '.join(missing)} is not in {folder}", file=sys.stderr)
        else:
            _check_pieces(archive, folder)
            with whole_folder(target) as unfinished:
                pieces = io.BufferedReader(PieceReader([folder / piece.name for piece in archive.pieces]), 1 << 20)
                try:
                    with tarfile.open(fileobj=pieces, mode="r|xz") as tar:
                        _extract(tar, unfinished)
                except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
                    raise PackError(f"{archive.name} cannot be unpacked ({error}). Pack again.") from error
                (unfinished / MARK).write_text(archive.sha256)
            there.append(archive.name)
    for archive in archives:
        if archive.name in there and (own := _list_own(archive, site)):
            print(f"{archive.name}: the host's own come first: {', '.join(own)}", file=sys.stderr)
    lacking = [name for name in required if name not in there]
    if lacking or not there:
        what = f"{' and '.join(lacking)} is not whole" if lacking else "no archive is whole"
        raise PackError(f"{what} in {folder}, and it is needed. Copy the missing pieces there.")
    _write_startup(site, there)
    return there


def _list_own(archive: Archive, site: Path) -> list[str]:
    """Return the packages of an archive that this Python has by itself, with their versions, and the archive's."""
    own = []
    for wheel in archive.packages:
        name, _, rest = wheel.partition("-")
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if site.resolve() not in Path(str(found.locate_file(""))).resolve().parents:
            own.append(f"{name} {found.version} (packed: {rest.split('-')[0]})")
    return own


def _write_startup(site: Path, names: list[str]) -> None:
    """Write the module that puts archives at the end of ``sys.path``, by the name that Python looks for."""
    folders = [str(site.resolve() / name) for name in names]
    (site / STARTUP).mkdir(exist_ok=True)
    (site / STARTUP / "sitecustomize.py").write_text(f"import sys\n\nsys.path += {folders!r}\n", "utf-8")


def export_lines(site: Path, names: list[str]) -> str:
    """Return the lines for a shell that make Python, and what it loads, find what was unpacked."""
    libraries = [path for path in (site.resolve() / name / "tensorrt_rtx_libs" for name in names) if path.is_dir()]
    return "\n".join(
        f"export {variable}={':'.join(map(shlex.quote, map(str, paths)))}${{{variable}:+:${variable}}}"
        if paths
        else f"export {variable}=${{{variable}:-}}"
        for variable, paths in (("PYTHONPATH", [CHECKOUT, site.resolve() / STARTUP]), ("LD_LIBRARY_PATH", libraries))
    )
