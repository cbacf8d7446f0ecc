"""wp paint: paint on a photo in the browser."""

import threading
import warnings
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavepaint.cli import model_options
from wavepaint.cli.completion import FILE
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.contract import Precision
from wavepaint.errors import ImageError, WavePaintWarning, printable
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.service import require_packages

if TYPE_CHECKING:
    from wavepaint.runtime.service.page_files import PaintPhoto

_HOST = "127.0.0.1"
_MAX_BODY_BYTES = 2**30
_MAX_PIXELS = 200_000_000
"""Limits for one person on the own machine; those of wp serve are for strangers."""


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp paint photo.jpg", "Paint over what should go:"),
        ("wp paint", "Choose the photo on the page:"),
        ("wp paint photo.jpg --no-browser --port 8000", "Print the address instead of opening it:"),
    ],
)
@click.argument("photo", type=FILE, required=False)
@click.option("--no-browser", is_flag=True, help="Print the address only, to open it yourself.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="Port of the page. Default: a free one.",
)
@model_options.BUNDLE
@model_options.ENGINE
@model_options.PRECISION
@model_options.THREADS
def command(
    photo: Path | None,
    no_browser: bool,
    port: int,
    bundle: Path | None,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
) -> None:
    """Open PHOTO on a page in the browser, to paint over what should go.

    The page is served by this command on this machine only, and no other machine gets the photo. The command ends
    a few seconds after the page is closed, or with Ctrl-C. The result is saved from the page; PHOTO is never changed.
    """
    require_packages()
    silence_pillow()
    warnings.simplefilter("ignore", WavePaintWarning)  # the page says so
    opened = None if photo is None else _read_photo(photo)
    with Inpainter(bundle, engine=engine, precision=precision, threads=threads) as inpainter:
        _serve(inpainter, opened, port, opens_browser=not no_browser)


def _read_photo(path: Path) -> "PaintPhoto":
    """Read a photo's file, and check that it is one.

    Raises:
        ImageError: It is no photo.
    """
    from wavepaint.runtime.service.page_files import read_paint_photo

    if not path.exists():
        raise ImageError(f"{printable(path)} does not exist: expected a photo.")
    return read_paint_photo(path)


def _serve(inpainter: Inpainter, photo: "PaintPhoto | None", port: int, *, opens_browser: bool) -> None:
    """Serve the page until it is closed."""
    from wavepaint.runtime.service.app import make_app
    from wavepaint.runtime.service.server import Server, listen
    from wavepaint.runtime.service.service_settings import ServiceSettings

    settings = ServiceSettings(max_body_bytes=_MAX_BODY_BYTES, max_pixels=_MAX_PIXELS, timeout_s=3600.0)
    app = make_app(inpainter, settings, photo=photo, on_leave=lambda: server.stop())
    server = Server(app)
    with listen(_HOST, port) as listener:
        address = f"http://{_HOST}:{listener.getsockname()[1]}/#{'paint' if photo is None else 'photo'}"
        click.echo(f"{address}\nClose the page or press Ctrl-C to end.", err=True)
        if opens_browser:
            # In a thread of its own, because some browsers block until they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with suppress(KeyboardInterrupt):  # raised once more after the server has ended
            server.run(sockets=[listener])
