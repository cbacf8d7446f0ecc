"""Declaring, checking and reading training settings.

A setting is a dataclass field that carries its help text and its bounds. The command line makes one flag from each
setting (``crop_size`` is ``--crop-size``), and errors name that flag.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from wavepaint.errors import ConfigError

Value = TypeVar("Value")
Section = TypeVar("Section")

_EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a list of names",
    dict: "a table",
}


def setting(
    default: Value,
    help: str,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    suffix: str = "",
    heading: str = "",
    placeholder: str = "NUMBER",
    only_inpainting: bool = False,
) -> Value:
    """Declare a setting.

    Args:
        default: Its default value.
        help: One or two sentences for the command line.
        least: Smallest value allowed.
        above: Bound that the value must exceed.
        below: Bound that the value must stay under.
        suffix: End of the flag's name, after the name of the field.
        heading: Heading of the help above this setting and those that follow.
        placeholder: What the help shows for the value, such as PIXELS.
        only_inpainting: Whether it means nothing to a run with classes.
    """
    metadata = {
        "help": help,
        "least": least,
        "above": above,
        "below": below,
        "suffix": suffix,
        "heading": heading,
        "placeholder": placeholder,
        "only_inpainting": only_inpainting,
    }
    return dataclasses.field(default=default, metadata=metadata)


def name_flag(field: "dataclasses.Field[Any]") -> str:
    """Return the flag of a setting."""
    return f"--{field.name.replace('_', '-')}{field.metadata.get('suffix', '')}"


def make_error(section: Any, name: str, expected: str) -> ConfigError:
    """Return the error for a refused value; it names the flag, the value and what was expected."""
    (flag,) = (name_flag(field) for field in dataclasses.fields(section) if field.name == name)
    value = getattr(section, name)
    return ConfigError(f"{flag} is {'empty' if value == () else value}: expected {expected}.")


def check_settings(section: Any) -> None:
    """Check every setting of a section against its choices and bounds.

    Raises:
        ConfigError: A value is not among the choices, not finite, or out of bounds.
    """
    hints = get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value, kind = getattr(section, field.name), hints[field.name]
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise make_error(section, field.name, f"one of {', '.join(get_args(kind))}")
        if kind in (int, float):
            least, above, below = (field.metadata.get(bound) for bound in ("least", "above", "below"))
            inside = (least is None or value >= least) and (above is None or value > above)
            if not (math.isfinite(value) and inside and (below is None or value < below)):
                raise make_error(section, field.name, _describe_bounds(least, above, below))


def _describe_bounds(least: float | None, above: float | None, below: float | None) -> str:
    parts = [] if least is None else [f"{least:g} or more"]
    parts += [] if above is None else [f"a number above {above:g}"]
    parts += [] if below is None else [f"below {below:g}"]
    return " and ".join(parts) or "a finite number"


def read_section(kind: type[Section], values: Mapping[str, Any], prefix: str = "") -> Section:
    """Build a section from plain values, as they come from JSON or TOML; settings left out get their defaults.

    Args:
        kind: The section's class.
        values: Nested like the section.
        prefix: Name of the section with a dot, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Expected one of {', '.join(hints)}."
            raise ConfigError(f"unknown training setting {prefix}{name}.{hint}")
    try:
        return kind(**{name: _read_value(hints[name], value, prefix + name) for name, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"the training settings are incomplete: {error}.") from error


def _read_value(kind: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}: expected a table of settings.")
        return read_section(kind, value, f"{name}.")
    if get_origin(kind) is Literal:
        return value  # check_settings names the choices and the flag
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name} is {value!r}: expected {_EXPECTED[get_origin(kind) or kind]}.") from error
