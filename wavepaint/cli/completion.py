"""Parameter types that complete in a shell. They check nothing: the commands do, with messages of their own."""

from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

FILE = click.Path(path_type=Path)
"""A file or folder, as a path."""

FILE_NAME = click.Path(readable=False)
"""A file or folder, as text: it may also be a pattern, or - for a standard stream."""


class FolderType(click.Path):
    """A folder, as a path."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)
        self.name = "folder"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete to folders only."""
        return [CompletionItem(incomplete, type="dir")]


FOLDER = FolderType()


class NameList(StringParamType):
    """Names separated by commas, as text.

    Args:
        names: The names to complete.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the name after the last comma."""
        before, comma, start = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in self.names if name.startswith(start)]
