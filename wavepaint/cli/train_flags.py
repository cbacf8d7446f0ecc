"""The flags of ``wp train``: one for each setting of a training configuration."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from wavepaint.cli.completion import complete_names, complete_path
from wavepaint.cli.grouped_help import Decorator, option_group
from wavepaint.data.masks import ALL_KINDS
from wavepaint.training.config import SECTIONS
from wavepaint.training.recipes import get_recipe
from wavepaint.training.settings import name_flag

Command = TypeVar("Command", bound=Callable[..., Any])


def _make_option(section: str, field: "dataclasses.Field[Any]", hint: Any, default: Any) -> Decorator:
    """Return the flag of a setting.

    Args:
        section: Name of the setting's section.
        field: The setting.
        hint: Its type.
        default: The value that the help shows. The flag itself has no default, because recipes differ.
    """
    flag = name_flag(field)
    settings: dict[str, Any] = {}
    if hint is bool:
        flag = f"{flag}/--no-{flag[2:]}"
        default = "on" if default else "off"
    elif get_origin(hint) is Literal:
        settings = {"type": click.Choice(get_args(hint))}
    else:
        settings = {"type": hint, "metavar": field.metadata["placeholder"]}
        if hint is str:  # a folder
            settings["shell_complete"] = complete_path
        if get_origin(hint) is tuple:  # mask kinds
            settings |= {"type": str, "shell_complete": complete_names(*ALL_KINDS)}
    shown = ",".join(default) if isinstance(default, tuple) else f"{default:g}" if hint is float else str(default)
    text = field.metadata["help"] + (f"  [default: {shown}]" if shown else "")
    return click.option(flag, f"{section}__{field.name}", default=None, help=text, **settings)


def add_flags(command: Command) -> Command:
    """Add a flag for each setting. :func:`collect` turns the flags that were passed into nested values."""
    recipe = get_recipe("default")
    for section, kind in reversed(list(SECTIONS.items())):
        hints = get_type_hints(kind)
        groups: dict[str, list[Decorator]] = {}
        for field in dataclasses.fields(kind):
            default = getattr(getattr(recipe, section), field.name)
            heading = field.metadata["heading"] or next(reversed(groups))
            groups.setdefault(heading, []).append(_make_option(section, field, hints[field.name], default))
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
