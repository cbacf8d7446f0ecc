"""What is released: the packages, the wheel, the source distribution, their metadata and the shipped model."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path

import pytest
import yaml

from tests.checkout import copy_tracked_files
from tests.conftest import REPOSITORY
from tests.house.tools import run_module
from wavepaint import __version__
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
    out, copy = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("build") / "copy"
    copy_tracked_files(copy)  # a build leaves files, and other tests read the checkout meanwhile
    run_module("build", "--no-isolation", "--outdir", str(out), ".", folder=copy)
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
    page = REPOSITORY / "runtime" / "service" / "page"
    expected |= {f"wavepaint/runtime/service/page/{path.relative_to(page)}" for path in page.rglob("*.*")}
    expected |= {f"wavepaint/study/page/{name}" for name in ("index.html", "style.css", "study.js")}
    assert expected <= names
    assert not {name for name in names if "test" in name.lower()}
    assert wheel.stat().st_size < 25 * 10**6  # 5 MB of them are the page with its WebAssembly


def test_the_command_is_installed_under_both_names(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    scripts = ConfigParser()
    scripts.read_string(archive.read(name).decode())
    assert dict(scripts["console_scripts"]) == {"wp": "wavepaint.cli:main", "wavepaint": "wavepaint.cli:main"}


def test_source_distribution_can_be_built_and_tested(distributions: Path) -> None:
    """The wheel above was built from it; setuptools alone would leave out the links."""
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    files = {"pyproject.toml", "setup.py", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", ".ci/run"}
    files |= {"export/bundle.py", "runtime/inpainter.py", "tests/conftest.py", "docs/install.md", "examples/README.md"}
    assert files <= members.keys()
    links = {name: member.linkname for name, member in members.items() if member.issym()}
    assert links == {"wavepaint/export": "../export", "wavepaint/runtime": "../runtime"}
    assert not {name for name in members if "__pycache__" in name or name.startswith((".git/", ".venv", "build"))}


@pytest.fixture(scope="module")
def metadata(distributions: Path) -> Message:
    (wheel,) = distributions.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(archive.read(name), policy=default)


def test_metadata_says_what_an_index_shows(metadata: Message) -> None:
    assert metadata["Name"] == "wavepaint"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert len(metadata["Summary"]) < 200
    assert {"Author", "Keywords", "Requires-Python", "Classifier"} <= set(metadata.keys())
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["project"]["optional-dependencies"])


def test_description_has_no_link_that_leads_nowhere_on_an_index(metadata: Message) -> None:
    text = str(metadata.get_payload())
    assert text.lstrip().startswith("# WavePaint")
    assert "](https://arxiv.org/abs/2307.00407)" in text
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [target for target in targets if not target.startswith("https://")] == []


def test_links_of_the_description_lead_into_the_repository_once_it_has_an_address(tmp_path: Path) -> None:
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy2(REPOSITORY / name, tmp_path)
    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text() + '\n[project.urls]\nRepository = "https://example.org/wavepaint"\n')
    (tmp_path / "README.md").write_text("[![a cat](cat.jpg)](docs/cat.md), [below](#limits), [paper](https://a.org)")
    code = "import setuptools; setuptools.setup = lambda **options: print(options['long_description']); import setup"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    files = "https://example.org/wavepaint/blob/HEAD"
    picture = "![a cat](https://example.org/wavepaint/raw/HEAD/cat.jpg)"
    assert result.stdout.strip() == (
        f"[{picture}]({files}/docs/cat.md), [below]({files}/README.md#limits), [paper](https://a.org)"
    )


def test_workflow_publishes_only_what_was_tested() -> None:
    """The jobs are test, build, try and publish; only the last one may publish, and only for a tag."""
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "publish.yml").read_text())
    jobs = workflow["jobs"]
    assert jobs["build"]["needs"] == "test"
    assert jobs["try"]["needs"] == "build"
    assert set(jobs["publish"]["needs"]) == {"build", "try"}
    assert jobs["publish"]["if"] == "github.event_name == 'push'"
    assert workflow[True]["push"] == {"tags": ["v*"]}  # YAML reads the key "on" as true
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    uploads = [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]]
    assert uploads == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    assert ".ci/run" in str(jobs["test"]["steps"])


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
