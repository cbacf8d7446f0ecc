"""Exports that test workers and test runs share: an export takes seconds, and many tests need one.

A cached export is used only with the sources, packages and machine that it was made with.
"""

import hashlib
import shutil
from importlib.metadata import distributions
from pathlib import Path

from filelock import FileLock

from wavepaint.atomic import write_folder
from wavepaint.contract import Bundle, hash_file, read_bundle
from wavepaint.export.bundle import ExportOptions, write_bundle
from wavepaint.machine import describe_machine
from wavepaint.weights.checkpoint import read_checkpoint

REPOSITORY = Path(__file__).parent.parent
SOURCES = (
    "tests/exports.py",
    "export/**/*.py",
    "runtime/**/*.py",
    "wavepaint/*.py",
    "wavepaint/assets/verification/*",
    *(f"wavepaint/{room}/**/*.py" for room in ("contract", "metrics", "models", "ops", "weights")),
)
"""Everything in the repository that decides what an export contains, verification reports included."""


PACKAGES = sorted({f"{package.name} {package.version}" for package in distributions()})
"""The installed packages. Listed once, because setuptools adds packages of its own when a test imports it."""


def hash_sources() -> str:
    """Hash the sources, the installed packages and the machine's description."""
    digest = hashlib.sha256(repr((PACKAGES, describe_machine())).encode())
    for path in sorted({path for pattern in SOURCES for path in REPOSITORY.glob(pattern)}):
        digest.update(f"{path.relative_to(REPOSITORY)} {hash_file(path)}\n".encode())
    return digest.hexdigest()


SOURCES_AT_START = hash_sources()


def export_once(checkpoint: Path, out: Path, cache: Path, options: ExportOptions) -> Bundle:
    """Export a checkpoint unless the cache has this export, and copy it, so that no test can change the cache."""
    key = hashlib.sha256(f"{SOURCES_AT_START} {hash_file(checkpoint)} {options}".encode()).hexdigest()
    cached = cache / f"{out.name}-{key[:32]}"
    with FileLock(cache / f"{out.name}.lock"):
        if cached.is_dir():
            shutil.copytree(cached, out)
            return read_bundle(out)
        for former in cache.glob(f"{out.name}-*"):
            shutil.rmtree(former)
        bundle = write_bundle(read_checkpoint(checkpoint), out, options=options)
        if hash_sources() == SOURCES_AT_START:  # else a source was edited while the tests ran
            with write_folder(cached) as folder:
                shutil.copytree(out, folder, dirs_exist_ok=True)
        return bundle
