"""The ``wp`` command line. Each command is a module of its own, imported only when it runs."""

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

import click

from wavepaint import __version__
from wavepaint.cli.grouped_help import write_examples
from wavepaint.cli.interrupt import exit_after_interrupt
from wavepaint.errors import WavePaintError, WavePaintWarning, printable

# Help lines are kept here, so that `wp --help` imports no command.
_COMMANDS = {
    "infer": "Fill the holes of a photo, or of a folder of photos.",
    "mask": "Draw the mask of a photo: scratches, rectangles, frames, painted colours.",
    "classify": "Name the most probable classes of photos.",
    "segment": "Find the class of each pixel of a photo.",
    "upscale": "Double the size of a photo.",
    "paint": "Paint over what should go from a photo, on a page in the browser.",
    "serve": "Serve a page to paint on and an HTTP API that fills photos.",
    "page": "Write the page to paint on as static files, for any web host.",
    "train": "Train a network on photos, for inpainting or for classes.",
    "masks": "Write a test set of photos with random masks, to evaluate models.",
    "blend": "Blend two checkpoints of one network, a faithful and a sharp one.",
    "export": "Export a checkpoint as a verified bundle of ONNX models and engines.",
    "import": "Import an ONNX file of another project as a bundle.",
    "verify": "Compare a bundle's models with a reference.",
    "eval": "Measure fills against ground truth: PSNR, SSIM, LPIPS, FID, with intervals.",
    "bench": "Time bundles in the engines of this machine.",
    "compare": "Let people compare two methods: a study in a page, and its score.",
    "info": "Describe a bundle.",
    "doctor": "Show which engines work on this machine, and what the others lack.",
}

_MODULES = {"import": "import_network"}
"""Modules whose name differs from the command's, because that is a word of Python."""

_BASE = {"PIL", "click", "msgspec", "numpy", "platformdirs", "tqdm"}
"""Modules of the base installation. One may be missing after an update of the checkout. Others come with PyTorch."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"wavepaint.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command = module.command
        assert isinstance(command, click.Command)
        command.name = cmd_name
        return command

    def invoke(self, ctx: click.Context) -> Any:
        with exit_after_interrupt():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        write_examples(
            formatter,
            [
                ("wp infer photo.jpg mask.png", "Fill the white part of the mask; the result is photo_filled.jpg:"),
                ("wp infer --help", "Show the options of a command, with more examples:"),
                ("wp doctor", "See which engines work on this machine:"),
            ],
        )


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wp")
def wp() -> None:
    """Fill holes in photos: train, export, benchmark and run inpainting networks."""


def _show_own_warnings_plainly() -> None:
    """Print a :class:`WavePaintWarning` as one line, without the source line that Python adds."""
    default = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, WavePaintWarning):
            from wavepaint.cli.progress import print_line

            print_line(f"warning: {message}")
        else:
            default(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def _replace_closed_streams() -> None:
    """Open the null device for every closed standard stream.

    Otherwise the next file to be opened gets the stream's number, and libraries print into that file.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  open until the process ends


def main() -> None:
    """Run the command line. Errors of this package and of the system become one line on stderr and exit status 1.

    Ctrl-C becomes one line and exit status 130.
    """
    _replace_closed_streams()
    _show_own_warnings_plainly()
    try:
        wp(prog_name="wp")
    except WavePaintError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != "wavepaint":
            from wavepaint.optional import describe_missing

            extra = "" if error.name.split(".")[0] in _BASE else "train"
            click.echo(f"error: {describe_missing(error.name, extra=extra)}", err=True)
            sys.exit(1)
        raise
    except OSError as error:
        name = f"{printable(error.filename)}: " if isinstance(error.filename, str | os.PathLike) else ""
        click.echo(f"error: {name}{error.strerror or error}.", err=True)
        sys.exit(1)
    except MemoryError:
        click.echo("error: out of memory. Close other programs, or scale the image down.", err=True)
        sys.exit(1)
