"""Optional dependencies, and the commands that install them."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from wavepaint import optional
from wavepaint.errors import EngineError
from wavepaint.optional import describe_missing, make_install_command, make_pip_command, require

METADATA = """\
Metadata-Version: 2.4
Name: wavepaint
Version: 0.1.0
Requires-Dist: numpy>=1.26
Provides-Extra: train
Requires-Dist: torch>=2.8; extra == "train"
Requires-Dist: onnx>=1.18; extra == "train"
Provides-Extra: tensorrt-rtx
Requires-Dist: tensorrt-rtx-cu13>=1.7; extra == "tensorrt-rtx"
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Pretend that the package was installed, with a PEP 610 record or without one."""
    site = tmp_path / "site-packages"
    (site / "wavepaint-0.1.0.dist-info").mkdir(parents=True)
    (site / "wavepaint").mkdir()
    (site / "wavepaint-0.1.0.dist-info" / "METADATA").write_text(METADATA)
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setattr(optional, "__file__", str(site / "wavepaint" / "optional.py"))
    put_pip_first(monkeypatch, Path(sys.executable).parent)

    def install(record: dict[str, Any] | None = None, package: Path | None = None) -> None:
        if record is not None:
            (site / "wavepaint-0.1.0.dist-info" / "direct_url.json").write_text(json.dumps(record))
        if package is not None:
            monkeypatch.setattr(optional, "__file__", str(package / "wavepaint" / "optional.py"))

    return install


def put_pip_first(
    monkeypatch: pytest.MonkeyPatch, scripts: Path, *, has_pip: bool = True, has_uv: bool = False
) -> None:
    """Let the first pip in PATH be in ``scripts``, and the running Python have one of its own or not."""
    monkeypatch.setattr(optional.importlib.util, "find_spec", lambda name: object() if has_pip else None)
    programs = {"pip": str(scripts / "pip"), "uv": "/usr/bin/uv" if has_uv else None}
    monkeypatch.setattr(optional.shutil, "which", programs.get)
    monkeypatch.setattr(optional.sysconfig, "get_path", lambda name: str(Path(sys.executable).parent))


def make_checkout(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "wavepaint"\n')
    return folder


@pytest.mark.parametrize("is_editable", [False, True])
def test_a_package_from_a_checkout_is_installed_from_there(install: Install, tmp_path: Path, is_editable: bool) -> None:
    checkout = make_checkout(tmp_path / "my photos" / "wavepaint")
    record = {"url": checkout.as_uri(), "dir_info": {"editable": True} if is_editable else {}}
    install(record, package=checkout if is_editable else None)
    option = "-e " if is_editable else ""
    assert make_install_command("cpu") == f'pip install {option}"{checkout}[cpu]"'


def test_a_checkout_that_was_not_installed_is_installed(install: Install, tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "wavepaint")
    install({"url": "file:///elsewhere", "dir_info": {"editable": True}}, package=checkout)
    assert make_install_command("train") == f'pip install "{checkout}[train]"'


def test_a_wheel_is_installed_again_while_it_exists(install: Install, tmp_path: Path) -> None:
    wheel = tmp_path / "wavepaint-0.1.0-py3-none-any.whl"
    install({"url": wheel.as_uri(), "archive_info": {}})
    assert make_install_command("train") == 'pip install "torch>=2.8" "onnx>=1.18"'
    wheel.touch()
    assert make_install_command("train") == f'pip install "{wheel}[train]"'


def test_a_deleted_checkout_is_not_named(install: Install, tmp_path: Path) -> None:
    install({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert make_install_command("tensorrt-rtx") == 'pip install "tensorrt-rtx-cu13>=1.7"'


def test_a_package_from_a_repository_or_a_url_is_installed_from_there(install: Install) -> None:
    install({"url": "https://example.org/wavepaint.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}})
    command = 'pip install "wavepaint[cpu] @ git+https://example.org/wavepaint.git@abc123"'
    assert make_install_command("cpu") == command
    install({"url": "https://example.org/wavepaint-0.1.0.tar.gz", "archive_info": {}})
    assert make_install_command("cpu") == 'pip install "wavepaint[cpu] @ https://example.org/wavepaint-0.1.0.tar.gz"'


def test_a_package_from_an_index_is_not_looked_up_by_name(install: Install) -> None:
    """Nobody else's package of that name may be installed, for instance if ours came from a folder of wheels."""
    install()
    assert make_install_command("train") == 'pip install "torch>=2.8" "onnx>=1.18"'
    assert make_install_command() == 'pip install "numpy>=1.26"'


def test_the_command_names_the_running_python_if_another_pip_comes_first(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install()
    put_pip_first(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python")
    assert make_pip_command("install", "a") == '"/opt/my python/bin/python" -m pip install a'


def test_an_environment_of_uv_has_no_pip(install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_pip_first(monkeypatch, tmp_path, has_pip=False, has_uv=True)
    monkeypatch.setattr(sys, "executable", "/venv/bin/python")
    assert make_pip_command("install", "a>=1") == 'uv pip install --python /venv/bin/python "a>=1"'
    assert make_pip_command("uninstall", "-y", "a") == "uv pip uninstall --python /venv/bin/python -y a"
    put_pip_first(monkeypatch, tmp_path, has_pip=False)
    command = make_pip_command("install", "a")
    assert command == "/venv/bin/python -m ensurepip && /venv/bin/python -m pip install a"


@pytest.mark.skipif(os.name == "nt", reason="quoting for POSIX shells")
@pytest.mark.parametrize("name", ["plain", "two words", "a$HOME`x`", 'say "hi"', "it's", "a!b", "~", "a&b;c"])
def test_the_command_survives_the_shell(install: Install, tmp_path: Path, name: str) -> None:
    checkout = make_checkout(tmp_path / name)
    install(package=checkout)
    assert shlex.split(make_install_command("cpu")) == ["pip", "install", f"{checkout}[cpu]"]


def test_windows_paths_are_quoted_for_cmd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional.os, "name", "nt")
    assert optional._quote(r"C:\Users\me\python.exe") == r"C:\Users\me\python.exe"
    assert optional._quote(r"C:\Program Files\wavepaint[cpu]") == r'"C:\Program Files\wavepaint[cpu]"'


def test_a_missing_module_is_an_error_with_the_command() -> None:
    with pytest.raises(EngineError, match="no_such_module is not installed.*" + re.escape(make_install_command("cpu"))):
        require("no_such_module", extra="cpu")


@pytest.mark.parametrize(("platform", "is_large"), [("linux", True), ("darwin", False)])
def test_a_missing_pytorch_says_how_large_it_is(monkeypatch: pytest.MonkeyPatch, platform: str, is_large: bool) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    text = describe_missing("torch.nn", extra="train")
    assert ("5.5 GB" in text and "docs/install.md" in text) == is_large
    assert text.endswith(f"Install it with: {make_install_command('train')}")


def test_a_module_that_does_not_load_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("raise ImportError('no libcudart.so')")
    monkeypatch.syspath_prepend(tmp_path)
    command = make_install_command("gpu", reinstall=True)
    assert " install --force-reinstall " in command
    with pytest.raises(EngineError, match=r"does not load \(no libcudart.so\).*" + re.escape(command)):
        require("broken_library", extra="gpu")


def test_this_checkout_is_named() -> None:
    assert shlex.split(make_install_command("cpu"))[-1] == f"{REPOSITORY}[cpu]"
    assert shlex.split(make_install_command())[-1] == f"{REPOSITORY}"
