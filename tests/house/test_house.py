"""The house: who imports whom, style and types, what the wheel holds, and that the README's commands are CI's."""

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from wavepaint.contract import hash_file, read_bundle

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def run_tool(*command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff() -> None:
    run_tool("ruff", "check", ".")
    run_tool("ruff", "format", "--check", ".")


def test_mypy() -> None:
    run_tool("mypy")


def test_import_contracts() -> None:
    run_tool("importlinter.cli", "lint")


def test_top_level_names_of_the_checkout_are_never_imported() -> None:
    """Two module objects of one file would make two kinds of every exception in it."""
    for path in REPOSITORY.rglob("*.py"):
        if any(part.startswith(".") or part == "build" for part in path.relative_to(REPOSITORY).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("export", "runtime"), path


def packages_on_disk() -> set[str]:
    found = {"wavepaint"}
    for folder, name in (("wavepaint", "wavepaint"), ("export", "wavepaint.export"), ("runtime", "wavepaint.runtime")):
        for init in (REPOSITORY / folder).rglob("__init__.py"):
            if not init.parent.is_relative_to(REPOSITORY / folder) or init.parent.is_symlink():
                continue
            tail = init.parent.relative_to(REPOSITORY / folder).parts
            found.add(".".join([name, *tail]))
    return found


def test_every_package_is_listed() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run_tool("build", "--no-isolation", "--outdir", str(out), ".")
    return out


def test_the_wheel_holds_wavepaint_alone_and_whole(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"wavepaint"}
    expected = {"wavepaint/py.typed", "wavepaint/assets/default/manifest.json", "wavepaint/assets/default/model.onnx"}
    expected |= {"wavepaint/assets/MODEL_CARD.md", "wavepaint/assets/verification/coffee.jpg"}
    for folder in ("wavepaint", "export", "runtime"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            relative = path.relative_to(REPOSITORY).as_posix()
            expected.add(relative if folder == "wavepaint" else f"wavepaint/{relative}")
    assert expected <= names
    assert not {name for name in names if "test" in name.lower()}
    assert wheel.stat().st_size < 16 * 2**20


def test_the_source_distribution_builds_the_same_wheel(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "export/bundle.py", "runtime/inpainter.py"} <= names


def test_the_shipped_bundle_is_at_most_16_mb() -> None:
    """The checkpoint beside it is for training on, lies in the repository alone and is not counted."""
    folder = REPOSITORY / "wavepaint" / "assets" / "default"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 16 * 2**20


def test_the_shipped_bundle_was_made_from_the_checkpoint_beside_it() -> None:
    bundle = read_bundle(REPOSITORY / "wavepaint" / "assets" / "default")
    assert bundle.manifest.source["sha256"] == hash_file(REPOSITORY / "wavepaint" / "assets" / "default.pt")


def test_commands_of_reports_run_on_other_machines() -> None:
    """Folders of the one who ran them are written as words: PHOTOS, DIR."""
    reports = sorted((REPOSITORY / "benchmarks" / "results").rglob("*.json"))
    assert len(reports) >= 10
    for path in reports:
        content = json.loads(path.read_text())
        for command in [run["command"] for run in content.get("runs", [content])]:
            assert not re.search(r"(^|[\s=])[/~]", command), path.name


README = REPOSITORY / "README.md"


def shell_blocks() -> list[str]:
    return re.findall(r"```(?:sh|bash)\n(.*?)```", README.read_text(), flags=re.S)


def test_ci_runs_the_readmes_test_command() -> None:
    (command,) = [block.strip() for block in shell_blocks() if "pytest" in block]
    assert command in (REPOSITORY / ".ci" / "run").read_text()


def test_every_wp_command_of_the_readme_parses() -> None:
    from wavepaint.cli import wp

    commands = re.findall(r"^\s*(?:\S*/)?wp (.*)$", "\n".join(shell_blocks()), flags=re.M)
    commands += [part.split("wp ", 1)[1] for block in shell_blocks() for part in block.split("&&") if "bin/wp " in part]
    assert len(commands) >= 5
    for line in commands:
        arguments = line.split("#")[0].split()
        context = wp.make_context("wp", list(arguments), resilient_parsing=False)
        assert wp.get_command(context, arguments[0]) is not None
        command = wp.get_command(context, arguments[0])
        assert command is not None
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        assert {a for a in arguments[1:] if a.startswith("-") and a != "-"} <= known, line


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))])
def test_files_that_pages_point_to_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (REPOSITORY / page).read_text()):
        if not target.startswith("http"):
            assert ((REPOSITORY / page).parent / target).exists(), target


def test_the_python_of_the_pages_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: np.ndarray, hole: np.ndarray
) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    for name in ("mask.png", "mask0.png", "mask1.png", "mask2.png"):
        Image.fromarray(hole).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    pages = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S)]
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "page", "exec"), {})
    assert {path.name for path in tmp_path.glob("filled*")} >= {
        "filled.png",
        "filled0.png",
        "filled2.png",
        "filled.jpg",
    }


def test_the_runtime_package_imports_without_numpy_heavy_friends() -> None:
    code = "import sys, wavepaint; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
