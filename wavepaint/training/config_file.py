"""Training configurations as TOML files."""

import json
import tomllib
from pathlib import Path
from typing import Any

from wavepaint.errors import ConfigError
from wavepaint.training.config import RunConfig


def read_toml(path: Path) -> dict[str, Any]:
    """Read settings for :meth:`RunConfig.change` from a TOML file.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: expected a TOML file (--config).")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path} cannot be read as TOML ({reason}). wp train --show-config prints a valid file."
        ) from error


def format_toml(config: RunConfig) -> str:
    """Return a configuration as TOML text that :func:`read_toml` reads."""
    values = config.to_dict()
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {_format_value(value)}" for name, value in values.items() if name not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_format_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    # JSON's integers, booleans and escaped strings are valid TOML. A float must not look like an integer.
    return repr(value) if isinstance(value, float) else json.dumps(value)
