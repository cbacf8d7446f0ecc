"""What the values of options complete to in a shell: files, folders and names.

Little is checked here, because the commands have better messages: - is no standard stream, and a file no folder.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from wavepaint.errors import ConfigError, printable

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class _Place(click.Path):
    """A path; the help shows its kind.

    Args:
        name: The kind.
        completes: Click's name for what to complete: "file" for files and folders, "dir" for folders.
    """

    def __init__(self, name: str, completes: str) -> None:
        super().__init__(path_type=Path)
        self.name, self._completes = name, completes

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path; - is refused."""
        return super().convert(refuse_stream(ctx, param, os.fspath(value)), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave the search to the shell."""
        return [CompletionItem(incomplete, type=self._completes)]


class _File(_Place):
    """The path of a file. A folder is refused, and so is a slash at the end, which :class:`Path` would drop."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path.

        Raises:
            ConfigError: It names a folder.
        """
        if os.fspath(value).endswith(tuple(filter(None, (os.sep, os.altsep)))) or os.path.isdir(value):  # noqa: PTH112
            raise ConfigError(f"{printable(value)} is a folder. Give a file name.")
        return super().convert(value, param, ctx)


FILE, FOLDER, PATH = _File("file", "file"), _Place("folder", "dir"), _Place("path", "file")


def make_path(text: str | None, *, is_folder: bool) -> Path | None:
    """Return the path of an output that is a folder for a batch of photos, and else a file.

    Raises:
        ConfigError: The output is a file, and the text names a folder.
    """
    if text is not None and not is_folder:
        FILE.convert(text, None, None)
    return None if text is None else Path(text)


def refuse_stream(ctx: click.Context | None, param: click.Parameter | None, value: Any) -> Any:
    """Return a value that is not -, which would be a file of that name. Also a callback of parameters that are text.

    Raises:
        BadParameter: The value is -.
    """
    if str(value) == "-":
        raise click.BadParameter("- is not supported here: name a file or folder.", ctx, param)
    return value


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete text that may be a path, or something else: a pattern, or - for a standard stream."""
    return PATH.shell_complete(ctx, param, incomplete)


def complete_path_or(name: str) -> Complete:
    """Return a function that completes a name, once it has begun, or else a path."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        has_begun = incomplete and name.startswith(incomplete)
        return [CompletionItem(name)] if has_begun else complete_path(ctx, param, incomplete)

    return complete


def complete_names(*names: str) -> Complete:
    """Return a function that completes one of the names, or a list of them with commas between."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, start = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in names if name.startswith(start)]

    return complete
