"""Pack what a GPU host without a network needs, and unpack it there. Needs Python's standard library and pip alone.

Here, with a network::

    python benchmarks/pack_gpu_host.py pack -o pack                # everything, about two minutes
    python benchmarks/pack_gpu_host.py pack -o pack --light        # without TensorRT-RTX: fits in one piece of luggage

There, where the folder has been copied to, in one go or in several::

    python3 benchmarks/pack_gpu_host.py unpack pack --into /tmp/site

``unpack`` prints the lines that make Python find the packages. Packages are taken as pip finds them (``pip download``,
with its own configuration), in the versions of ``constraints.txt``. They make three archives, cut into pieces of at
most 60 MB:

=========  =====  ===================================================================================================
archive    about  what it is for
=========  =====  ===================================================================================================
``base``   45 MB  a working environment for ONNX and cuda-bindings by itself: export, ONNX Runtime on the CPU, copies
``tools``  12 MB  plots (matplotlib) and tests (pytest)
``rtx``    64 MB  TensorRT-RTX: its libraries (two pieces), its bindings, and the module ``tensorrt_rtx``
=========  =====  ===================================================================================================

PyTorch with CUDA, the driver and CUDA itself must be there. An archive some of whose pieces are missing is left out and
told, so that pieces can be sent one after another and unpacked as they come.
"""

import argparse
import hashlib
import io
import json
import lzma
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

ARCHIVES: dict[str, tuple[str, ...]] = {
    "base": (
        "numpy", "pillow", "click", "tqdm", "typing_extensions", "packaging", "onnx", "onnx-ir", "onnxscript",
        "ml_dtypes", "protobuf", "onnxruntime", "flatbuffers", "PyWavelets", "safetensors", "cuda-bindings",
        "cuda-pathfinder",
    ),
    "tools": (
        "matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing", "python-dateutil", "six",
        "pytest", "iniconfig", "pluggy", "Pygments",
    ),
    "rtx": ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13"),
}  # fmt: skip
"""Packages of each archive; the first alone is a working environment."""

HEAVY = "rtx"
BUILT = ("tensorrt-rtx-cu13",)
"""Pure Python packages that come as source alone, and are made into wheels here."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
MEGABYTE = 1_000_000
PIECE_MB = 60
MANIFEST = "manifest.json"
FORMAT = "wavepaint-gpu-host-1"
MARK = ".unpacked-sha256"
CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"


class PackError(Exception):
    """What cannot be packed or unpacked, in one line that says what mends it."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of an archive: file name, size in bytes, sha256."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A compressed archive in pieces.

    Attributes:
        name: A key of :data:`ARCHIVES`.
        packages: File names of the wheels in it.
        sha256: Of all pieces together.
        pieces: In order.
    """

    name: str
    packages: tuple[str, ...]
    sha256: str
    pieces: tuple[Piece, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.num_bytes for piece in self.pieces)


def read_versions(constraints: Path) -> dict[str, str]:
    """Return the pinned version of every package, by its name in lower case with hyphens.

    Raises:
        PackError: The file cannot be read.
    """
    try:
        lines = constraints.read_text("utf-8").splitlines()
    except OSError as error:
        raise PackError(f"{constraints} cannot be read ({error.strerror or error}); it names the versions.") from error
    pins = (line.split("#")[0].strip().partition("==") for line in lines)
    return {_normalise(name): version for name, _, version in pins if version}


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def download(names: Iterable[str], versions: dict[str, str], python: str, folder: Path) -> None:
    """Let pip download wheels for a Python on Linux x86-64 into a folder.

    Raises:
        PackError: pip fails; its last line is told.
    """
    pins = [f"{name}=={versions[_normalise(name)]}" for name in names if name not in BUILT]
    built = [f"{name}=={versions[_normalise(name)]}" for name in names if name in BUILT]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    _run_pip("download", "--no-deps", *target, "--dest", str(folder), *pins)
    if built:
        _run_pip("wheel", "--no-deps", "--wheel-dir", str(folder), *built)


def _run_pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        told = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        reason = told[-1] if told else f"exit status {result.returncode}"
        raise PackError(f"pip {arguments[0]} failed: {reason}. Is there a network, and does the version exist?")


def list_files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield where a wheel's files belong below a folder on ``sys.path``, and their content.

    Raises:
        PackError: A name leads out of the folder.
    """
    with zipfile.ZipFile(wheel) as content:
        for entry in content.infolist():
            if entry.is_dir():
                continue
            parts = PurePosixPath(entry.filename).parts
            if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
                raise PackError(f"{wheel.name} holds {entry.filename!r}, which leads out of its folder.")
            if parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib"):
                    continue  # scripts, headers and manual pages
                parts = parts[2:]
            yield "/".join(parts), content.read(entry)


class PieceWriter(io.RawIOBase):
    """A binary stream that goes to numbered files of a largest size, whose hashes it keeps.

    Args:
        stem: The files' path without their number.
        num_bytes: Largest size of a piece.
    """

    def __init__(self, stem: Path, num_bytes: int) -> None:
        super().__init__()
        self._stem, self._limit = stem, num_bytes
        self._whole, self._one = hashlib.sha256(), hashlib.sha256()
        self._file: BinaryIO | None = None
        self._size = 0
        self._pieces: list[Piece] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        written = len(view)
        while len(view):
            if self._file is None or self._size == self._limit:
                self._end_piece()
                self._file = self._path(len(self._pieces)).open("xb")
            part = view[: self._limit - self._size]
            self._file.write(part)
            self._whole.update(part)
            self._one.update(part)
            self._size += len(part)
            view = view[len(part) :]
        return written

    def _path(self, index: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{index:02d}")

    def _end_piece(self) -> None:
        if self._file is None:
            return
        self._file.close()
        name = self._path(len(self._pieces)).name
        self._pieces.append(Piece(name=name, num_bytes=self._size, sha256=self._one.hexdigest()))
        self._file, self._size, self._one = None, 0, hashlib.sha256()

    def finish(self) -> tuple[str, tuple[Piece, ...]]:
        """Close the last piece; return the sha256 of all together, and the pieces."""
        self._end_piece()
        return self._whole.hexdigest(), tuple(self._pieces)


def write_archive(name: str, wheels: list[Path], folder: Path, piece_bytes: int, number: int) -> Archive:
    """Compress wheels into the pieces of an archive; the same wheels make the same bytes."""
    # A dictionary as large as the largest library, since its code for several GPUs repeats itself.
    num_bytes = sum(entry.file_size for wheel in wheels for entry in zipfile.ZipFile(wheel).infolist())
    dictionary = min(max(1 << 20, 1 << (num_bytes - 1).bit_length()), 1 << 28)
    filters: list[dict[str, Any]] = [
        {"id": lzma.FILTER_X86},
        {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary},
    ]
    pieces = PieceWriter(folder / f"{number}-{name}.tar.xz", piece_bytes)
    with (
        lzma.LZMAFile(cast(IO[bytes], pieces), "wb", format=lzma.FORMAT_XZ, filters=filters) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as tar,
    ):
        for wheel in sorted(wheels):
            for path, content in list_files(wheel):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
    sha256, parts = pieces.finish()
    return Archive(name=name, packages=tuple(wheel.name for wheel in sorted(wheels)), sha256=sha256, pieces=parts)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside a path; on a clean exit it becomes the path, else it is removed.

    As :func:`wavepaint.atomic.write_folder`, which is not there yet where this runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def pack(out: Path, *, python: str, light: bool, piece_mb: int = PIECE_MB, wheels: Path | None = None) -> list[Archive]:
    """Download, compress and cut.

    Args:
        out: The folder to write; it must not exist.
        python: Version of the host's Python.
        light: Leave TensorRT-RTX out.
        piece_mb: Largest piece in MB.
        wheels: A folder of wheels to take instead of downloading, one below it for each archive.

    Raises:
        PackError: ``out`` exists, or pip fails.
    """
    if out.exists():
        raise PackError(f"{out} exists already. Choose another folder (-o), or remove it.")
    names = [name for name in ARCHIVES if not (light and name == HEAVY)]
    archives = []
    with whole_folder(out) as folder, tempfile.TemporaryDirectory() as downloads:
        for number, name in enumerate(names, 1):
            source = (wheels or Path(downloads)) / name
            if wheels is None:
                source.mkdir()
                print(f"{name}: downloading {len(ARCHIVES[name])} packages", file=sys.stderr)
                download(ARCHIVES[name], read_versions(CONSTRAINTS), python, source)
            found = list(source.glob("*.whl"))
            if not found:
                raise PackError(f"{source} holds no wheels, expected those of {', '.join(ARCHIVES[name])} (--wheels).")
            print(f"{name}: compressing", file=sys.stderr)
            archives.append(write_archive(name, found, folder, piece_mb * MEGABYTE, number))
        manifest = {"format": FORMAT, "python": python, "archives": [asdict(archive) for archive in archives]}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return archives


def describe(archives: list[Archive]) -> str:
    """Return a table of the pieces, with how many MB have been sent after each."""
    lines, sent = [f"{'piece':<24}{'MB':>8}{'so far':>10}"], 0
    for archive in archives:
        for piece in archive.pieces:
            sent += piece.num_bytes
            lines.append(f"{piece.name:<24}{piece.num_bytes / MEGABYTE:>8.1f}{sent / MEGABYTE:>10.1f}")
    return "\n".join(lines)


def read_manifest(folder: Path) -> tuple[str, list[Archive]]:
    """Return the Python version a folder is for, and its archives.

    Raises:
        PackError: No such manifest, or a damaged one.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        archives = [
            Archive(**{**one, "packages": tuple(one["packages"]), "pieces": tuple(Piece(**p) for p in one["pieces"])})
            for one in content["archives"]
        ]
    except FileNotFoundError:
        raise PackError(f"{folder} holds no {MANIFEST}. Expected a folder that `pack` wrote.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(f"{path} is damaged ({error}). Copy it again, or pack again.") from error
    for name in [archive.name for archive in archives] + [p.name for archive in archives for p in archive.pieces]:
        if Path(name).name != name or name.startswith("."):
            raise PackError(f"{path} names {name!r}, which is no plain file name. Pack again.")
    return content["python"], archives


class _Joined(io.RawIOBase):
    """The pieces of an archive as one stream, their hashes checked beforehand."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__()
        self._paths = iter(paths)
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    return 0
                self._file = path.open("rb")
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                return int(count)
            self._file.close()
            self._file = None


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
        folder: What :func:`pack` wrote, or a part of its pieces with the manifest.
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
                pieces = io.BufferedReader(_Joined([folder / piece.name for piece in archive.pieces]), 1 << 20)
                try:
                    with tarfile.open(fileobj=pieces, mode="r|xz") as tar:
                        tar.extractall(unfinished, filter="data")
                except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
                    raise PackError(f"{archive.name} cannot be unpacked ({error}). Pack again.") from error
                (unfinished / MARK).write_text(archive.sha256)
            there.append(archive.name)
    lacking = [name for name in required if name not in there]
    if lacking or not there:
        what = " and ".join(lacking) or "no archive"
        raise PackError(f"{what} is whole in {folder}, and it is needed. Copy the missing pieces there.")
    return there


def export_lines(site: Path, names: list[str]) -> str:
    """Return the lines for a shell that make Python, and what it loads, find what was unpacked."""
    folders = [site.resolve() / name for name in names]
    libraries = [path for path in (folder / "tensorrt_rtx_libs" for folder in folders) if path.is_dir()]
    checkout = CONSTRAINTS.parent
    return "\n".join(
        f"export {variable}={':'.join(map(shlex.quote, map(str, paths)))}${{{variable}:+:${variable}}}"
        if paths
        else f"export {variable}=${{{variable}:-}}"
        for variable, paths in (("PYTHONPATH", [checkout, *folders]), ("LD_LIBRARY_PATH", libraries))
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two commands; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="download and compress")
    packing.add_argument("-o", "--out", type=Path, required=True, help="the new folder")
    packing.add_argument("--python", default="3.12", help="the host's version of Python (default: %(default)s)")
    packing.add_argument("--light", action="store_true", help="leave TensorRT-RTX out")
    packing.add_argument("--wheels", type=Path, help="take wheels from FOLDER/base, /tools and /rtx; download nothing")
    unpacking = commands.add_parser("unpack", help="check and unpack")
    unpacking.add_argument("folder", type=Path, help="what `pack` wrote, or some of its pieces and the manifest")
    unpacking.add_argument("--into", type=Path, required=True, help="where to")
    unpacking.add_argument("--any-python", action="store_true", help="also for another version than this one")
    unpacking.add_argument("--require", nargs="*", default=(), choices=[*ARCHIVES], help="fail without these archives")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "pack":
            print(describe(pack(chosen.out, python=chosen.python, light=chosen.light, wheels=chosen.wheels)))
        else:
            names = unpack(chosen.folder, chosen.into, any_python=chosen.any_python, required=chosen.require)
            print(export_lines(chosen.into, names))
    except (PackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
