"""Checking archives in pieces and unpacking them, each whole or not at all. Standard library alone."""

import hashlib
import io
import lzma
import shlex
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.gpu.pieces import Archive, PackError, PieceReader, read_manifest, whole_folder

MARK = ".unpacked-sha256"
CHECKOUT = Path(__file__).resolve().parent.parent.parent


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
    if not hasattr(tarfile, "data_filter"):
        raise PackError(f"Python {sys.version.split()[0]} cannot unpack safely: expected 3.12, or 3.11.4 or newer.")
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
                        tar.extractall(unfinished, filter="data")
                except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
                    raise PackError(f"{archive.name} cannot be unpacked ({error}). Pack again.") from error
                (unfinished / MARK).write_text(archive.sha256)
            there.append(archive.name)
    lacking = [name for name in required if name not in there]
    if lacking or not there:
        what = f"{' and '.join(lacking)} is not whole" if lacking else "no archive is whole"
        raise PackError(f"{what} in {folder}, and it is needed. Copy the missing pieces there.")
    return there


def export_lines(site: Path, names: list[str]) -> str:
    """Return the lines for a shell that make Python, and what it loads, find what was unpacked."""
    folders = [site.resolve() / name for name in names]
    libraries = [path for path in (folder / "tensorrt_rtx_libs" for folder in folders) if path.is_dir()]
    return "\n".join(
        f"export {variable}={':'.join(map(shlex.quote, map(str, paths)))}${{{variable}:+:${variable}}}"
        if paths
        else f"export {variable}=${{{variable}:-}}"
        for variable, paths in (("PYTHONPATH", [CHECKOUT, *folders]), ("LD_LIBRARY_PATH", libraries))
    )
