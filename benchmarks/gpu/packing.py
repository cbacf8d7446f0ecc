"""Downloading packages and compressing them into archives in pieces. Standard library and pip alone."""

import io
import json
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from benchmarks.gpu.pieces import FORMAT, MANIFEST, MEGABYTE, Archive, PackError, PieceWriter, whole_folder

ARCHIVES: dict[str, tuple[str, ...]] = {
    "wavelets": ("PyWavelets", "msgspec"),
    "base": (
        "numpy", "pillow", "click", "tqdm", "typing_extensions", "packaging", "onnx", "onnx-ir", "onnxscript",
        "ml_dtypes", "protobuf", "onnxruntime", "flatbuffers", "safetensors", "cuda-bindings", "cuda-pathfinder",
    ),
    "tools": (
        "matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing", "python-dateutil", "six",
        "pytest", "iniconfig", "pluggy", "Pygments",
    ),
    "rtx": ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13"),
}  # fmt: skip
"""Packages of each archive. The first is what hosts lack that have PyTorch, ONNX and plots; with the second it is a
working environment by itself."""

HEAVY = "rtx"
BUILT = ("tensorrt-rtx-cu13",)
"""Pure Python packages that come as source alone, and are made into wheels here."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
PIECE_MB = 36
"""Largest piece: with the checkout's 22.4 MB, the first archive's 3.5 MB, the prepared graphs and the record it is less
than 64 MiB, a usual limit of what is carried at once."""
CONSTRAINTS = Path(__file__).resolve().parent.parent.parent / "constraints.txt"


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
