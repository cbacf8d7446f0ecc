"""Fill options from the fields of a request."""

import dataclasses
import re
from collections.abc import Mapping

from wavepaint.errors import ConfigError
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.service.request_errors import RequestError, refuse_value, shorten, translate_option

OPTIONS = {option.name: option for option in dataclasses.fields(FillOptions)}
"""The fields that are fill options, by name."""

_TRUTHS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)


def take_options(texts: dict[str, str], **settings: object) -> FillOptions:
    """Remove the fill options from a form's fields.

    Args:
        texts: The fields.
        settings: Options that the route decides.

    Raises:
        RequestError: A value is of another type or out of range.
    """
    values = {name: _parse(name, texts.pop(name)) for name in OPTIONS if name in texts}
    return make_options({**values, **settings})


def make_options(values: Mapping[str, object]) -> FillOptions:
    """Return fill options.

    Raises:
        RequestError: A value is of another type or out of range.
    """
    try:
        return FillOptions(**values)  # type: ignore[arg-type]  # it checks the types itself
    except ConfigError as error:
        raise translate_option(error) from None


def refuse_unknown(names: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse fields that the route does not know.

    Raises:
        RequestError: There is one.
    """
    for name in names:
        raise RequestError(
            400,
            f"{shorten(name) or 'a part without a name'} is not a field: expected {', '.join(known)}.",
            "unknown_field",
            param=shorten(name),
        )


def refuse_query(parameters: Mapping[str, str]) -> None:
    """Refuse parameters in the URL, which would have no effect.

    Raises:
        RequestError: There is one.
    """
    if parameters:
        name = shorten(next(iter(parameters)))
        raise RequestError(
            400,
            f"{name} is in the URL: expected it in the body, as a field of the form or of the JSON object.",
            "unknown_field",
            param=name,
        )


def _parse(name: str, text: str) -> object:
    """Return the value of a field in its option's type. The options check what it means."""
    default = OPTIONS[name].default
    if isinstance(default, bool):
        if text.strip().lower() not in _TRUTHS:
            raise refuse_value(name, repr(shorten(text)), "true or false")
        return _TRUTHS[text.strip().lower()]
    if isinstance(default, int):
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text):
            raise refuse_value(name, repr(shorten(text)), "a whole number")
        return int(text)
    return text.strip()
