"""Optional dependencies: import one, or raise an error with the command that installs it.

The command works where it is shown: it names the pip of the running Python, and the place from which this package was
installed. It never looks this package up by its name alone, because another package may have that name on an index.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from wavepaint.errors import EngineError

NAME = "wavepaint"
"""Name of the distribution."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: Dotted import name, for example ``"onnxruntime"``.
        extra: The extra of this package that installs the module, for example ``"cpu"``.

    Raises:
        EngineError: The module is not installed, or does not load.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise EngineError(describe_missing(error.name or module, extra=extra)) from error
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{module} is installed but does not load ({error}). Reinstall it with: "
            f"{make_install_command(extra, reinstall=True)}"
        ) from error


def describe_missing(module: str, *, extra: str = "") -> str:
    """Return that a module is not installed, and the command that installs it."""
    size = ""
    if module.partition(".")[0] == "torch" and sys.platform == "linux":
        size = " With its CUDA libraries it takes 5.5 GB; docs/install.md shows how to take the 1 GB for CPUs."
    return f"{module} is not installed, and this needs it.{size} Install it with: {make_install_command(extra)}"


def make_install_command(extra: str = "", *, reinstall: bool = False) -> str:
    """Return the shell command that installs this package with an extra; ``reinstall`` replaces installed packages."""
    options = ["--force-reinstall"] if reinstall else []
    return make_pip_command("install", *options, *_list_requirements(extra))


def make_pip_command(action: str, *arguments: str) -> str:
    """Return a shell command that runs pip for the running Python.

    It is ``pip`` if the first one in PATH belongs to this Python, and ``python -m pip`` otherwise. If this Python has
    no pip, as in environments of uv, it is ``uv pip`` or installs pip first.
    """
    python, found = _quote(sys.executable or "python"), shutil.which("pip")
    if importlib.util.find_spec("pip") is None:
        has_uv = shutil.which("uv") is not None
        command = (
            f"uv pip {action} --python {python}" if has_uv else f"{python} -m ensurepip && {python} -m pip {action}"
        )
    elif found and Path(found).parent.resolve() == Path(sysconfig.get_path("scripts")).resolve():
        command = f"pip {action}"
    else:
        command = f"{python} -m pip {action}"
    return " ".join([command, *map(_quote, arguments)])


def _list_requirements(extra: str) -> list[str]:
    """Return what pip has to install for an extra: this package from where it came, or the packages that it needs."""
    from urllib.request import url2pathname  # slow to import, and only errors need it

    folder, brackets = Path(__file__).absolute().parents[1], f"[{extra}]" if extra else ""
    record = _read_direct_url()
    url, vcs = record.get("url", ""), record.get("vcs_info")
    path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") and not vcs else None
    if _is_checkout(folder):
        is_editable = path == folder and record.get("dir_info", {}).get("editable", False)
        return [*(["-e"] if is_editable else []), f"{folder}{brackets}"]
    if path is not None and path.exists():
        return [f"{path}{brackets}"]
    if url and path is None:
        return [f"{NAME}{brackets} @ " + (f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url)]
    return _read_requirements(extra) or [f"{folder}{brackets}"]


def _is_checkout(folder: Path) -> bool:
    """Return whether a folder is a checkout of this package; some packages leave a pyproject.toml in site-packages."""
    try:
        return f'name = "{NAME}"' in (folder / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return False


def _read_direct_url() -> dict[str, Any]:
    """Return where pip took this package from (PEP 610); empty if from an index, or if it is not installed."""
    for distribution in importlib.metadata.distributions(name=NAME):
        if text := distribution.read_text("direct_url.json"):
            record: dict[str, Any] = json.loads(text)
            return record
    return {}


def _read_requirements(extra: str) -> list[str]:
    """Return the requirements of the installed package, or of one of its extras; none if it is not installed."""
    try:
        lines = importlib.metadata.requires(NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    condition = rf"""extra == ["']{extra}["']""" if extra else r"^(?!.*\bextra\b)"
    parts = [line.partition(";") for line in lines]
    return [name.strip() for name, _, marker in parts if re.search(condition, marker)]


def _quote(argument: str) -> str:
    """Quote an argument for the shell: cmd and PowerShell on Windows, POSIX shells elsewhere."""
    if re.fullmatch(r"[\w.,:@/+=\\-]+" if os.name == "nt" else r"[\w.,:@/+=-]+", argument):
        return argument
    if os.name == "nt" or not re.search(r'["$`!\\]', argument):
        return f'"{argument}"'  # as in the documentation
    return shlex.quote(argument)
