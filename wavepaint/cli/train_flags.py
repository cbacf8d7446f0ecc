"""A flag for every setting of a training configuration, made from its fields and their descriptions."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from wavepaint.training.config import SECTIONS

Command = TypeVar("Command", bound=Callable[..., Any])


def describe_fields(section: type) -> dict[str, str]:
    """Return the description of every attribute of a section, read from its docstring."""
    texts: dict[str, str] = {}
    name = ""
    for line in (section.__doc__ or "").partition("Attributes:")[2].splitlines():
        indent = len(line) - len(line.lstrip())
        if indent == 8 and ":" in line:
            name, _, text = line.strip().partition(": ")
            texts[name] = text
        elif indent > 8 and name:
            texts[name] += " " + line.strip()
    return texts


def make_flag(section: str, name: str, kind: Any) -> str:
    """Return a setting's flag: ``--crop-size``; weights of losses say so, ``--ssim-weight``."""
    return f"--{name.replace('_', '-')}" + ("-weight" if section == "loss" and kind is float else "")


def _click_type(kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    return str if get_origin(kind) is tuple else kind


def add_flags(command: Command) -> Command:
    """Give a command a flag for each setting; :func:`collect` makes nested values of what was passed."""
    for section, kind in reversed(list(SECTIONS.items())):
        hints, texts = get_type_hints(kind), describe_fields(kind)
        for field in reversed(dataclasses.fields(kind)):
            hint = hints[field.name]
            flag = make_flag(section, field.name, hint)
            command = click.option(
                f"{flag}/--no-{flag[2:]}" if hint is bool else flag,
                f"{section}__{field.name}",
                type=None if hint is bool else _click_type(hint),
                default=None,
                help=texts[field.name].split(". ")[0].rstrip(".") + ".",
            )(command)
    return command


def collect(passed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the flags that were passed as values by section."""
    values: dict[str, dict[str, Any]] = {}
    for name, value in passed.items():
        if value is None:
            continue
        section, _, field = name.partition("__")
        if get_origin(get_type_hints(SECTIONS[section])[field]) is tuple:
            value = [item.strip() for item in value.split(",") if item.strip()]
        values.setdefault(section, {})[field] = value
    return values


def parse_hyper_parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs, values written as in TOML, bare words as text.

    Raises:
        click.UsageError: One of them is no such pair.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip().isidentifier():
            raise click.UsageError(f"--hyper-parameter {pair}: expected NAME=VALUE, for example num_modules=4.")
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = text.strip()
    return values
