"""The flags of ``wp train``: one for each setting of a training configuration."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from wavepaint.cli.completion import complete_names, complete_path, refuse_stream
from wavepaint.cli.grouped_help import Decorator, option_group
from wavepaint.data.masks import ALL_KINDS
from wavepaint.training.class_recipes import CLASS_RECIPES
from wavepaint.training.config import SECTIONS
from wavepaint.training.recipes import FINE_TUNE, get_recipe
from wavepaint.training.settings import name_flag

Command = TypeVar("Command", bound=Callable[..., Any])

_SHOWN_RECIPES = get_recipe("default"), get_recipe(FINE_TUNE)
_CLASS_RECIPES = CLASS_RECIPES["classify"](), CLASS_RECIPES["segment"]()
"""The help shows their values."""


def _describe_default(section: str, name: str) -> str:
    """Return the value of a setting in the recipe "default" and, if it differs, in the one for fine-tuning.

    Settings of classes have the values of the two recipes of the tasks.
    """
    other, recipes = ("segment", _CLASS_RECIPES) if section == "classes" else (FINE_TUNE, _SHOWN_RECIPES)
    default, changed = (_format_value(getattr(getattr(recipe, section), name)) for recipe in recipes)
    return f"  [default: {default}{f'; {other}: {changed}' if changed != default else ''}]" if default else ""


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def _make_option(section: str, field: "dataclasses.Field[Any]", hint: Any) -> Decorator:
    """Return the flag of a setting, which has a type ``hint``. The flag has no default, because recipes differ."""
    flag = name_flag(field)
    settings: dict[str, Any] = {}
    if hint is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    elif get_origin(hint) is Literal:
        settings = {"type": click.Choice(get_args(hint))}
    else:
        settings = {"type": hint, "metavar": field.metadata["placeholder"]}
        if hint is str:  # a folder
            settings |= {"shell_complete": complete_path, "callback": refuse_stream}
        if get_origin(hint) is tuple:  # mask kinds
            settings |= {"type": str, "shell_complete": complete_names(*ALL_KINDS)}
    text = field.metadata["help"] + _describe_default(section, field.name)
    return click.option(flag, f"{section}__{field.name}", default=None, help=text, **settings)


def add_flags(command: Command) -> Command:
    """Add a flag for each setting. :func:`collect` turns the flags that were passed into nested values."""
    for section, kind in reversed(list(SECTIONS.items())):
        hints = get_type_hints(kind)
        groups: dict[str, list[Decorator]] = {}
        for field in dataclasses.fields(kind):
            heading = field.metadata["heading"] or next(reversed(groups))
            groups.setdefault(heading, []).append(_make_option(section, field, hints[field.name]))
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
