"""Judge the install commands that messages contain. This module needs only ``packaging`` and the standard library."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_WORD = r"""(?:"[^"]*"|'[^']*'|[^\s"']+)"""
_PIP = rf"(?:uv pip|pip|{_WORD} -m pip)"
_OPTION = rf"(?: --python {_WORD}| -\S+)"
_INSTALL = rf"""{_PIP} install(?:{_OPTION}| "[^"]+"| '[^']+'| /\S+)*"""
_BEFORE = rf"(?:{_WORD} -m ensurepip|{_PIP} uninstall(?:{_OPTION}| [\w.-]+)+)"
_HINT = re.compile(rf"(?<!\S)(?:{_BEFORE} && )?{_INSTALL}")

PACKAGES = {
    "cv2": "opencv-python-headless",
    "cuda": "cuda-bindings",
    "pywt": "pywavelets",
    "tensorrt_rtx": "tensorrt-rtx-cu13",
}
"""The package that contains a module, where the names differ."""


def find_hints(text: str) -> list[str]:
    """Return the commands in a message that would install something."""
    return _HINT.findall(text)


def judge_hint(hint: str, missing: str = "") -> str:
    """Return what is wrong with an install command, or nothing.

    Args:
        hint: The command.
        missing: The module that it has to install, if a message names one.
    """
    installed: set[str] = set()
    for command in hint.split(" && "):
        words = shlex.split(command)
        if shutil.which(words[0]) is None:
            return f"no program {words[0]}"
        skipped = words.index("--python") + 1 if "--python" in words else 0
        if "install" not in words:
            continue
        for word in words[max(words.index("install"), skipped) + 1 :]:
            if not word.startswith("-"):
                problem = _judge_requirement(word, installed)
                if problem:
                    return problem
    module = missing.partition(".")[0]
    wanted = canonicalize_name(PACKAGES.get(module, module))
    if not installed:
        return "it installs nothing"
    return f"it does not install {wanted}" if module and wanted not in installed else ""


def _judge_requirement(word: str, installed: set[str]) -> str:
    """Return what is wrong with one requirement of pip, or nothing; add what it installs."""
    path = re.fullmatch(r"(.*[/\\].*)\[([\w-]+)\]", word)
    if path is None:
        try:
            requirement = Requirement(word)
        except InvalidRequirement:
            return f"pip does not accept {word!r}"
        installed.add(canonicalize_name(requirement.name))
        return "nobody has published wavepaint" if requirement.name == "wavepaint" and not requirement.url else ""
    try:
        project = tomllib.loads((Path(path[1]) / "pyproject.toml").read_text("utf-8"))["project"]
    except OSError:
        return f"{path[1]} is no checkout"
    if path[2] not in project["optional-dependencies"]:
        return f"there is no extra {path[2]}"
    needed = project["optional-dependencies"][path[2]]
    installed |= {canonicalize_name(Requirement(one).name) for one in needed}
    return ""
