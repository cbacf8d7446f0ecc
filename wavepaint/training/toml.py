"""Training configurations as TOML text, and back."""

import json
import tomllib
from pathlib import Path
from typing import Any

from wavepaint.errors import ConfigError
from wavepaint.training.config import TrainConfig


def read_toml(path: Path) -> dict[str, Any]:
    """Read settings for :meth:`TrainConfig.change` from a TOML file.

    Raises:
        ConfigError: The file cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read as TOML ({reason}). See wp train --show-config for one.") from error


def write_toml(config: TrainConfig) -> str:
    """Return a configuration as TOML text that :func:`read_toml` reads."""
    values = config.to_dict()
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {_toml_value(value)}" for name, value in values.items() if name not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    # JSON's numbers, booleans and escaped strings are TOML's as well; only a float must not look like an integer.
    return repr(value) if isinstance(value, float) else json.dumps(value)
