"""The rules of the house: style, import layers, names and plain English."""

import ast
import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.house.tools import find_files, parse_all, run_module


def test_ruff_finds_nothing() -> None:
    run_module("ruff", "check", ".")
    run_module("ruff", "format", "--check", ".")


def test_import_layers_hold() -> None:
    """import-linter has no module that ``python -m`` could run."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", result.stdout)


def test_top_level_names_of_the_checkout_are_never_imported() -> None:
    """A module that is loaded under two names has two of every exception class."""
    for path, nodes in parse_all().items():
        for node in nodes:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("export", "runtime"), path


def test_no_test_imports_another_test_module() -> None:
    """Shared fixtures are in a ``conftest.py``, shared helpers in a module with a name of its own."""
    for path, nodes in parse_all().items():
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                assert not re.search(r"\btest_", node.module or ""), path


def test_no_function_name_ends_in_of() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}"
        for path, nodes in parse_all().items()
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.endswith("_of")
        and not node.name.startswith("test_")
    ]
    assert not found, "\n".join(found)


UNCLEAR = {
    r"(?-i:\bOf)\s": "a sentence opens with a preposition; name the subject first",
    r"\bso\s+told\b": "say what is reported, and where",
    r"\bat\s+hand\b": "name the thing",
    r"\bthousand\s+million\b": "write billion, or GMAC",
    r"\b(?:is|are)\s+told\s+of\b": "say what is reported, and where",
}
"""Patterns that plain English does without, and what to write in their place."""

PHRASES = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in UNCLEAR.items()]


@pytest.mark.parametrize("suffix", [".py", ".md"])
def test_prose_is_plain(suffix: str) -> None:
    found = []
    for path in find_files(suffix):
        if path.name == "test_style.py":
            continue
        text = path.read_text()
        for pattern, advice in PHRASES:
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(REPOSITORY)}:{line} {match[0].strip()!r}: {advice}")
    assert not found, f"{len(found)} lines:\n" + "\n".join(found)
