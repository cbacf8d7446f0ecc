"""What is installed: the list of packages, the wheel, the source distribution and the shipped model."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.house.tools import run_module
from wavepaint.contract import hash_file, read_bundle

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
ROOTS = {"wavepaint": "wavepaint", "export": "wavepaint.export", "runtime": "wavepaint.runtime"}
"""Folders of the checkout, and the packages that they are installed as."""


def find_packages() -> set[str]:
    found = set()
    for folder, name in ROOTS.items():
        for init in (REPOSITORY / folder).rglob("__init__.py"):
            if not init.parent.is_symlink():
                found.add(".".join([name, *init.parent.relative_to(REPOSITORY / folder).parts]))
    return found


def test_every_package_is_listed() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == find_packages()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run_module("build", "--no-isolation", "--outdir", str(out), ".")
    return out


def test_wheel_contains_all_of_wavepaint_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"wavepaint"}
    expected = {"wavepaint/py.typed", "wavepaint/assets/default/manifest.json", "wavepaint/assets/default/model.onnx"}
    expected |= {"wavepaint/assets/MODEL_CARD.md", "wavepaint/assets/verification/coffee.jpg"}
    expected.add("wavepaint/assets/default.pt")  # wp train --init-from default
    for folder in ROOTS:
        for path in (REPOSITORY / folder).rglob("*.py"):
            relative = path.relative_to(REPOSITORY).as_posix()
            expected.add(relative if folder == "wavepaint" else f"wavepaint/{relative}")
    assert expected <= names
    assert not {name for name in names if "test" in name.lower()}
    assert wheel.stat().st_size < 16 * 2**20


def test_source_distribution_contains_what_the_wheel_is_built_from(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "export/bundle.py", "runtime/inpainter.py"} <= names


def test_shipped_bundle_is_at_most_16_mib() -> None:
    """The checkpoint beside it, from which it was made, does not count."""
    folder = REPOSITORY / "wavepaint" / "assets" / "default"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 16 * 2**20


def test_shipped_bundle_was_made_from_the_checkpoint_beside_it() -> None:
    bundle = read_bundle(REPOSITORY / "wavepaint" / "assets" / "default")
    assert bundle.manifest.source["sha256"] == hash_file(REPOSITORY / "wavepaint" / "assets" / "default.pt")


def test_package_imports_without_torch_numpy_and_pillow() -> None:
    code = "import sys, wavepaint; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
