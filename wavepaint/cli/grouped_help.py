"""Help pages: options in groups under headings, and examples that can be pasted."""

import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import Any

import click

Decorator = Callable[[Any], Any]

Examples = Sequence[tuple[str, str]]
"""Command lines, and what each does."""

_MAX_FLAG_WIDTH = 26
"""Columns of the flags in a help page; a longer flag gets a line of its own."""

_UNGROUPED = "Help"


def option_group(title: str, *options: Decorator) -> Decorator:
    """Show options under one heading of the help.

    Args:
        title: The heading.
        options: What ``click.option`` returns, in the order of the help.
    """

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
            function.__click_params__[-1].group = title
        return function

    return decorate


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups and ends with examples.

    Click has sections for commands, but only one section for all options.

    Args:
        examples: The examples.
        essential: Names of the parameters that ``--help`` shows. All others wait for ``--help-all``. By default
            ``--help`` shows everything.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Examples = (),
        essential: Collection[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.examples, self.essential = examples, essential
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        if essential:
            self.params.append(
                click.Option(
                    ["--help-all"],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_show_all_help,
                    help=f"Show all {len(options) + 2} options and exit.",
                )
            )

    def group_options(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return the flags and the text of every option, by heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None and isinstance(option, click.Option):
                flags, text = record
                groups.setdefault(getattr(option, "group", _UNGROUPED), []).append((flags, _word_ranges(text)))
        return groups if len(groups) > 1 else {"Options": groups[_UNGROUPED]}

    def _select_essential(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return the options of the short help, in the order of ``essential``."""
        options = {option.name: option for option in self.params}
        chosen = [options[name] for name in (*self.essential, "help_all")]
        records = (option.get_help_record(ctx) for option in (*chosen, self.get_help_option(ctx)) if option)
        return {"Options": [(record[0], _word_ranges(record[1])) for record in records if record]}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups, with their columns aligned, and the examples."""
        is_short = self.essential and not ctx.meta.get(__name__)
        groups = self._select_essential(ctx) if is_short else self.group_options(ctx)
        width = min(max(len(flags) for rows in groups.values() for flags, _ in rows), _MAX_FLAG_WIDTH)
        for title, rows in groups.items():
            with formatter.section(title):
                _write_rows(formatter, rows, width)
        write_examples(formatter, self.examples)


def _write_rows(formatter: click.HelpFormatter, rows: list[tuple[str, str]], width: int) -> None:
    """Write options in two columns. Unlike click, never break a flag or a default in two."""
    indent = " " * formatter.current_indent
    room = max(formatter.width - formatter.current_indent - width - 2, 10)
    for flags, text in rows:
        if len(flags) > width:
            formatter.write(f"{indent}{flags}\n")
            flags = ""
        text = re.sub(r": (?=[^\[\]]*\](?:  \[[^\[\]]*\])?$)", ":\xa0", text)
        for line in textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False):
            formatter.write(f"{indent}{flags:<{width}}  {line}\n".replace("\xa0", " "))
            flags = ""


def _word_ranges(text: str) -> str:
    """Return a help text with click's ranges, such as ``0<=x<=64``, in words."""
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", text)
    return re.sub(r"x>=([\d.]+)", r"\1 or more", re.sub(r"x>([\d.]+)", r"above \1", text))


def write_examples(formatter: click.HelpFormatter, examples: Examples) -> None:
    """Write each example on a line of its own, which never wraps, below what it does."""
    if examples:
        with formatter.section("Examples"):
            indent = " " * formatter.current_indent
            for line, purpose in examples:
                formatter.write(f"{indent}{purpose}\n{indent}  {line}\n")


def _show_all_help(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[__name__] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()
