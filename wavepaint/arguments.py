"""Checks of arguments to the Python API. A wrong argument raises a :class:`ConfigError` that names it."""

import reprlib
from collections.abc import Sequence
from operator import index
from typing import Any

from wavepaint.errors import ConfigError


def check_int(name: str, value: object, low: int, high: int | None = None, *, unit: str = "", flag: str = "") -> None:
    """Check an integer of any integer type, including NumPy's. Bool and float are refused.

    Args:
        name: Name of the argument.
        value: Value of the argument.
        low: Smallest value allowed.
        high: Largest value allowed; None for no limit.
        unit: Unit for the message, such as "pixels".
        flag: Command-line option for the message.

    Raises:
        ConfigError: Not an integer, or out of range.
    """
    expected = f"{low} or more" if high is None else f"{low} to {high}"
    hint = f" ({flag})" if flag else ""
    try:
        number = None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]  # may raise TypeError
    except TypeError:
        number = None
    if number is None:
        raise ConfigError(f"{name} is {_describe(value)}: expected a whole number, {expected}{hint}.")
    if number < low or (high is not None and number > high):
        shown = f"{_describe(number)} {unit}".rstrip()
        raise ConfigError(f"{name} is {shown}: expected {expected}{hint}.")


def check_choice(name: str, value: object, choices: Sequence[str], *, flag: str = "") -> None:
    """Check that a value is one of several words.

    Raises:
        ConfigError: The value is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        hint = f" ({flag})" if flag else ""
        raise ConfigError(f"{name} is {_describe(value)}: expected {', '.join(choices)}{hint}.")


def check_type(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Check the type of an argument.

    Args:
        name: Name of the argument.
        value: Value of the argument.
        kinds: Types allowed.
        expected: Those types in words, for the message.

    Raises:
        ConfigError: The value has none of those types.
    """
    if not isinstance(value, kinds):
        raise ConfigError(f"{name} is {_describe(value)}: expected {expected}.")


def check_sequence(name: str, value: object, expected: str) -> None:
    """Check that an argument is a list or a tuple. Text is refused, because its elements would be characters.

    Raises:
        ConfigError: It is of another type.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} is {_describe(value)}: expected {expected}.")


def _describe(value: Any) -> str:
    """Return a value for a message: a scalar itself, shortened if long; any other value as its type."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to print very large integers
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float | str):
        return reprlib.repr(value)
    return f"of type {type(value).__name__}"
