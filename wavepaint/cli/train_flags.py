"""The flags of ``wp train``: one for each setting of a training configuration."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from wavepaint.cli.grouped_help import Decorator, option_group
from wavepaint.training.config import SECTIONS
from wavepaint.training.settings import name_flag

Command = TypeVar("Command", bound=Callable[..., Any])


def _get_click_type(kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    return str if get_origin(kind) is tuple else kind


def add_flags(command: Command) -> Command:
    """Add a flag for each setting. :func:`collect` turns the flags that were passed into nested values."""
    for section, kind in reversed(list(SECTIONS.items())):
        hints = get_type_hints(kind)
        groups: dict[str, list[Decorator]] = {}
        for field in dataclasses.fields(kind):
            hint, flag = hints[field.name], name_flag(field)
            option = click.option(
                f"{flag}/--no-{flag[2:]}" if hint is bool else flag,
                f"{section}__{field.name}",
                type=None if hint is bool else _get_click_type(hint),
                default=None,
                help=field.metadata["help"],
            )
            heading = field.metadata["heading"] or next(reversed(groups))
            groups.setdefault(heading, []).append(option)
        for heading, options in reversed(groups.items()):
            command = option_group(f"{heading} [{section}]", *options)(command)
    return command


def collect(passed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the values of the flags that were passed, by section."""
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
    """Read ``NAME=VALUE`` pairs. Values are written as in TOML; bare words are text.

    Raises:
        click.UsageError: A pair has no name or no equals sign.
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
