"""A first day in a clean clone: every command of the README and the documentation works, or says what to install.

The Python that runs :mod:`tests.first_day.walk` lacks PyTorch, every engine but ONNX Runtime, and bfloat16. CI also
follows the first pages in a real environment; see ``.ci/run``.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import copy_tracked_files
from tests.conftest import REPOSITORY
from tests.first_day.hints import find_hints, judge_hint
from tests.first_day.pages import is_run, list_commands
from wavepaint.contract import Bundle
from wavepaint.optional import make_install_command

EXTRA = "cpu"


def find_needed() -> set[str]:
    """Return the packages that a virtual environment has after ``pip install ".[cpu]"``."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    queue = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"][EXTRA])]
    found = {"pip", "wavepaint"}
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in (*requirement.extras, "")):
                queue.append(needed)
    return found


def find_modules_beyond(needed: set[str]) -> set[str]:
    """Return the top-level modules of every other installed package."""
    owners = importlib.metadata.packages_distributions()
    return {module for module, names in owners.items() if not {canonicalize_name(name) for name in names} & needed}


def test_every_command_works_or_says_what_to_install(full_bundle: Bundle, tmp_path: Path) -> None:
    clone = tmp_path / "a clone"  # with a space: hints must quote it
    copy_tracked_files(clone)
    shutil.rmtree(clone / "wavepaint" / "assets" / "default")  # one convolution takes a tenth of the time
    shutil.copytree(full_bundle.folder, clone / "wavepaint" / "assets" / "default")
    without = {*find_modules_beyond(find_needed()), "bfloat16"}
    assert {"torch", "onnx", "openvino", "cv2", "matplotlib", "pytest"} <= without
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(clone / "tests" / "fakes" / "less"), str(clone)]),
        "WAVEPAINT_WITHOUT": " ".join(sorted(without)),
    }
    command = [sys.executable, "-P", clone / "tests" / "first_day" / "walk.py"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    counts = re.search(r"(\d+) commands, (\d+) of them succeeded, 0 problems", result.stdout)
    assert counts is not None
    assert int(counts[1]) >= 50
    assert int(counts[2]) >= 25


def test_a_python_lacks_what_it_is_told_to_lack(tmp_path: Path) -> None:
    """Stand-ins for a processor with bfloat16, and for an installed package."""
    core = "class Core:\n    def get_property(self, *names): return ['BF16', 'FP32', names[-1]]\n"
    (tmp_path / "openvino.py").write_text(core)
    (tmp_path / "package_a.py").touch()
    code = (
        "import importlib.util, openvino; print(importlib.util.find_spec('package_a'))\n"
        "for name in ('OPTIMIZATION_CAPABILITIES', 'BF16'): print(openvino.Core().get_property('CPU', name))"
    )
    path = os.pathsep.join([str(REPOSITORY / "tests" / "fakes" / "less"), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "WAVEPAINT_WITHOUT": "package_a bfloat16"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["None", "['FP32', 'OPTIMIZATION_CAPABILITIES']", "['BF16', 'FP32', 'BF16']"]


HINTS = [
    'pip install "/a b[cpu]"',
    "pip install -e '/a$b[cpu]'",
    "pip install /a/b",
    '"/my env/python" -m pip install --force-reinstall "/a[gpu]"',
    'uv pip install --python /env/python "a>=1" "b>=2"',
    '/env/python -m ensurepip && /env/python -m pip install "a>=1"',
    'pip uninstall -y a b && pip install "/a[gpu]"',
]


@pytest.mark.parametrize("hint", HINTS)
def test_hints_are_found(hint: str) -> None:
    assert find_hints(f"error: no a. Install it with: {hint} ort-cpu float32: nothing to install") == [hint]
    assert find_hints(hint) == [hint]


def test_hints_of_this_package_work() -> None:
    for extra in ("cpu", "openvino", "train"):
        (hint,) = find_hints(f"error: it is missing. Install it with: {make_install_command(extra)} and go on")
        assert judge_hint(hint) == ""
    assert judge_hint(make_install_command("openvino"), "openvino") == ""
    assert judge_hint(make_install_command("opencv"), "cv2") == ""


@pytest.mark.parametrize(
    ("hint", "missing", "problem"),
    [
        ('pip install "wavepaint[cpu]"', "", "nobody has published wavepaint"),
        ('pip install "/nowhere[cpu]"', "", "/nowhere is no checkout"),
        (f'pip install "{REPOSITORY}[none]"', "", "there is no extra none"),
        (f'pip install "{REPOSITORY}[cpu]"', "torch.nn", "does not install torch"),
        ('no-such-program install "a"', "", "no program no-such-program"),
        ('pip install "a b c"', "", "pip does not accept"),
        ("pip install", "", "installs nothing"),
    ],
)
def test_hints_that_do_not_work_are_found(hint: str, missing: str, problem: str) -> None:
    assert problem in judge_hint(hint, missing)


def test_a_command_that_is_neither_run_nor_listed_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nwp info  # the model\npip install x && \\\n  wp doctor '#'\nrm -r photos/\n```\n")
    commands = list_commands(page)
    assert commands == ["wp info", "pip install x", "wp doctor '#'", "rm -r photos/"]
    assert [is_run(command) for command in commands[:3]] == [True, False, True]
    with pytest.raises(ValueError, match="unknown command 'rm -r photos/'"):
        is_run(commands[3])
