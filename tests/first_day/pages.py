"""The commands of the pages, and why some are not run. This module needs only the standard library."""

import re
from pathlib import Path

NOT_RUN = {
    r"python3 -m venv": "the environment exists",
    r"source \.venv/bin/activate": "the environment is active",
    r"(\.venv/bin/)?pip (install|uninstall|download|wheel) ": "changes the environment",
    r"uv pip |uvx |pipx run ": "downloads packages",
    r"(\.venv/bin/)?python -m pytest ": "CI runs the tests",
    r"ruff |mypy|lint-imports": "tests/house runs them",
    r"python -m sphinx ": "tests/house builds the site",
    r"python -m (build|twine)|git (tag|push) ": "releases the package",
    r"cp examples/|cd /tmp|/tmp/try/bin/": "tries a built wheel",
    r"torchrun ": "needs several GPUs and PyTorch",
    r"timeout ": "trains for minutes on a GPU",
    r"curl |export WAVEPAINT_TOKEN=": "needs a running service; tests/cli/test_serve.py sends it requests",
    r"hf upload ": "uploads to the Hugging Face Hub",
    r"docker ": "needs a Docker engine",
    r"serve run |python ray_data\.py ": "needs Ray; tests/examples/test_ray.py runs the scripts",
    r"(tar|split|sha256sum|cat wheels\.tar)": "prepares files for a host without a network",
}
"""Commands that the first day leaves out, as regular expressions of their beginning, and the reason."""

_PROGRAMS = r"(?:\.venv/bin/)?wp |python -m wavepaint |cat photo\.jpg \| wp "


def list_pages(checkout: Path) -> list[Path]:
    return [checkout / "README.md", checkout / "CONTRIBUTING.md", *sorted((checkout / "docs").rglob("*.md"))]


def list_commands(page: Path) -> list[str]:
    """Return the commands of a page's shell blocks, in order, without comments; ``&&`` separates commands."""
    commands = []
    blocks = re.findall(r"^ *```(?:sh|bash|console)\n(.*?)^ *```", page.read_text("utf-8"), flags=re.S | re.M)
    for block in blocks:  # in a list they are indented
        for line in block.replace("\\\n", " ").splitlines():
            commands += re.split(r"\s+&&\s+", re.sub(r"(^|\s)#.*$", "", line).strip())
    return [command for command in commands if command]


def is_run(command: str) -> bool:
    """Return whether the first day runs a command.

    Raises:
        ValueError: The command is neither one of this project's nor listed in :data:`NOT_RUN`.
    """
    if re.match(_PROGRAMS, command):
        return True
    if not any(re.match(pattern, command) for pattern in NOT_RUN):
        raise ValueError(f"unknown command {command!r}: run it, or add it to NOT_RUN with a reason")
    return False
