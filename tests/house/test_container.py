"""The Dockerfile: what it copies exists and is sent to the builder, and the service runs without privileges."""

import json
import re
import tomllib
from collections import defaultdict

import click
from packaging.specifiers import SpecifierSet

from tests.conftest import REPOSITORY
from wavepaint.cli import wp

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def read_instructions() -> dict[str, list[str]]:
    """Return the arguments of each instruction, in order; lines that end with a backslash are joined."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    found = defaultdict(list)
    for line in text.splitlines():
        name, _, arguments = line.partition(" ")
        found[name].append(" ".join(arguments.split()))
    return found


DOCKERFILE = read_instructions()


def find_sources() -> set[str]:
    """Return what is copied from the checkout."""
    lines = [line.split() for line in DOCKERFILE["COPY"] if not line.startswith("--from")]
    return {source.rstrip("/") for line in lines for source in line[:-1]}


def test_everything_that_the_wheel_is_built_from_is_copied() -> None:
    roots = {folder.split("/")[0] for folder in PROJECT["tool"]["setuptools"]["package-dir"].values()}
    assert find_sources() >= {*roots, *PROJECT["project"]["license-files"], "README.md", "pyproject.toml", "setup.py"}


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_builder() -> None:
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == find_sources()
    assert all((REPOSITORY / source).exists() for source in find_sources())


def test_service_runs_without_privileges() -> None:
    (user,) = DOCKERFILE["USER"]
    assert int(user) >= 1000
    assert f"--uid {user} " in " ".join(DOCKERFILE["RUN"])


def test_image_has_what_the_service_needs() -> None:
    (extras,) = [argument.removeprefix("EXTRAS=") for argument in DOCKERFILE["ARG"] if argument.startswith("EXTRAS=")]
    assert {"serve", "cpu"} <= {*extras.split(",")} <= PROJECT["project"]["optional-dependencies"].keys()
    program, name, *arguments = *json.loads(DOCKERFILE["ENTRYPOINT"][0]), *json.loads(DOCKERFILE["CMD"][0])
    assert program in PROJECT["project"]["scripts"]
    command = wp.get_command(click.Context(wp), name)
    assert command is not None
    options = command.make_context(name, arguments).params
    assert options["host"] == "0.0.0.0"
    assert str(options["port"]) == DOCKERFILE["EXPOSE"][0]


def test_health_check_asks_the_port_of_the_service() -> None:
    (check,), (port,) = DOCKERFILE["HEALTHCHECK"], DOCKERFILE["EXPOSE"]
    assert f"http://127.0.0.1:{port}/healthz" in check
    code = re.search(r'"-c", "(.*?)"\]', check)
    assert code
    compile(code[1], "health check", "exec")


def test_python_of_the_image_is_supported() -> None:
    (version,) = [argument.removeprefix("PYTHON=") for argument in DOCKERFILE["ARG"] if argument.startswith("PYTHON=")]
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])
    assert set(DOCKERFILE["FROM"]) == {"python:${PYTHON}-slim AS build", "python:${PYTHON}-slim"}
