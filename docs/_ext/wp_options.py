"""The directive ``wp-options``: usage and options of a ``wp`` command, read from click when the site is built.

A page that uses it cannot fall behind the command line::

    ```{wp-options} infer
    ```
"""

import re

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from wavepaint.cli import wp
from wavepaint.cli.grouped_help import GroupedCommand


class WpOptions(SphinxDirective):
    """Write a command's usage line and one cross-referenced entry for each option."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the usage line and of the options."""
        name = self.arguments[0]
        group = click.Context(wp, info_name="wp", **wp.context_settings)
        command = wp.get_command(group, name)
        if command is None:
            raise self.error(f"wp has no command {name!r}")
        context = click.Context(command, info_name=name, parent=group)
        usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
        lines = ["```text", usage, "```", "", f"```{{program}} wp {name}", "```", ""]
        assert isinstance(command, GroupedCommand)
        for heading, options in command.group_options(context).items():
            lines += ["```{rubric} " + _escape(heading), "```", ""]
            for flags, text in options:
                lines += [f"```{{option}} {flags.replace(' / ', ', ')}", _escape(text), "```", ""]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source=f"wp {name}"), self.content_offset, container)
        return container.children


def _escape(text: str) -> str:
    """Return text in which Markdown finds nothing to format but flags, which become code."""
    return re.sub(r"(--[a-z][\w-]*)", r"`\1`", re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", text))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("wp-options", WpOptions)
    return {"parallel_read_safe": True}
