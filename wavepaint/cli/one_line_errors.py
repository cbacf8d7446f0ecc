"""The class of commands that are scripts of their own: the package's errors become one line, as ``wp`` prints them."""

from typing import Any

import click

from wavepaint.cli.interrupt import exit_after_interrupt
from wavepaint.errors import WavePaintError


class OneLineErrors(click.Command):
    """A command whose expected errors are one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with exit_after_interrupt():
                return super().invoke(ctx)
        except WavePaintError as error:
            raise click.ClickException(str(error)) from error
