"""wp serve: the HTTP service."""

import logging
import socket
import sys
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from wavepaint.cli import model_options
from wavepaint.cli.completion import FOLDER
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.cli.progress import SHORT_S, Progress
from wavepaint.contract import Precision
from wavepaint.errors import WavePaintWarning, printable
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.filling.memory import BASE_MB
from wavepaint.runtime.service import require_packages
from wavepaint.runtime.service.service_settings import MEGAPIXEL, MIB, ServiceSettings, choose_hosts
from wavepaint.runtime.service.streams import STREAM_MB, open_streams

_DEFAULTS = ServiceSettings()


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp serve", "Open http://127.0.0.1:8080 in a browser, or send photos to the API:"),
        (
            "wp serve my-bundle/ --engine openvino --port 9000",
            "Serve another model, in a named engine, on another port:",
        ),
        (
            "wp serve --host 0.0.0.0 --allow-host paint.example.org",
            "Serve other machines, which must send the secret in WAVEPAINT_TOKEN:",
        ),
    ],
)
@click.argument("bundle", required=False, type=FOLDER)
@option_group(
    "Address and access",
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        metavar="ADDRESS",
        help="Address to listen on. Any but this machine's own 127.0.0.1 needs a token.",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8080,
        show_default=True,
        metavar="NUMBER",
        help="Port to listen on; 0 takes a free one.",
    ),
    click.option(
        "--token",
        envvar="WAVEPAINT_TOKEN",
        metavar="SECRET",
        help="Secret of 16 characters or more that requests to the API carry, as in Authorization: Bearer TOKEN. Other "
        "users of this machine see it on the command line, but not in the variable WAVEPAINT_TOKEN.",
    ),
    click.option(
        "--allow-host",
        "allowed_hosts",
        multiple=True,
        metavar="NAME",
        help="A name under which clients reach the service, as their Host header has it; * for any. May be repeated. "
        "Default: the address itself, and localhost.",
    ),
)
@option_group(
    "Limits",
    click.option(
        "--queue",
        type=click.IntRange(min=1),
        default=_DEFAULTS.queue,
        show_default=True,
        metavar="NUMBER",
        help="Most requests that are filled or wait. Further ones get status 503.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.timeout_s,
        show_default=True,
        metavar="SECONDS",
        help="Longest time until a request is answered. Later it gets status 504.",
    ),
    click.option(
        "--max-body",
        type=click.IntRange(min=1),
        default=_DEFAULTS.max_body_bytes // MIB,
        show_default=True,
        metavar="MIB",
        help="Largest body of a request.",
    ),
    click.option(
        "--max-megapixels",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.max_pixels / MEGAPIXEL,
        show_default=True,
        metavar="NUMBER",
        help="Largest photo, in millions of pixels.",
    ),
    click.option(
        "--max-memory",
        type=click.IntRange(min=1),
        metavar="MIB",
        help=f"Memory limit of the process, without the requests that wait. Default: {BASE_MB}, and {STREAM_MB} for "
        "each stream.",
    ),
)
@option_group(
    "Model and engine",
    model_options.ENGINE,
    model_options.PRECISION,
    click.option(
        "--streams",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Photos that a CPU fills at once, with one thread each. Default: one for each core.",
    ),
    click.option(
        "--max-batch",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Most photos with equal options in one run of the engine. Default: 1 on a CPU, 8 on a GPU.",
    ),
)
@click.option(
    "-q", "--quiet", is_flag=True, help="Log errors only. Otherwise each request is one line of sizes and times."
)
def command(
    bundle: Path | None,
    host: str,
    port: int,
    token: str | None,
    allowed_hosts: tuple[str, ...],
    queue: int,
    timeout: float,
    max_body: int,
    max_megapixels: float,
    max_memory: int | None,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    streams: int | None,
    max_batch: int | None,
    quiet: bool,
) -> None:
    """Fill photos over HTTP, with the model in BUNDLE or the one that ships with the package.

    The root is a page to paint on. POST /v1/fill takes an image and a mask; the requests of OpenAI (/v1/images/edits)
    and IOPaint (/api/v1/inpaint) work, too. docs/serving.md describes the API for people, and /v1/openapi.json
    for programs. SIGTERM or Ctrl-C ends the service after it has answered what it accepted.
    """
    settings = ServiceSettings(
        hosts=choose_hosts(host, allowed_hosts, token),
        token=token,
        queue=queue,
        timeout_s=timeout,
        max_body_bytes=max_body * MIB,
        max_pixels=int(max_megapixels * MEGAPIXEL),
    )
    require_packages()
    from wavepaint.runtime.service.app import make_app
    from wavepaint.runtime.service.server import Server, listen

    silence_pillow()
    warnings.simplefilter("ignore", WavePaintWarning)  # the answer says so to whom it concerns
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it quotes bytes of broken forms
    logging.getLogger("wavepaint.service").setLevel(logging.ERROR if quiet else logging.INFO)
    listener = listen(host, port)
    with listener, ExitStack() as opened:
        with Progress(None, delay_s=SHORT_S) as progress:
            progress.describe("loading the model")
            models = open_streams(
                bundle,
                engine=engine,
                precision=precision,
                streams=streams,
                max_memory_mb=max_memory,
                max_batch=max_batch,
            )
        for model in models:
            opened.callback(model.close)
        address = _name_address(host, listener)
        name = printable(models[0].bundle.manifest.name)
        click.echo(f"{address} ({name}, {models[0].engine}). Ctrl-C ends it.", err=True)
        with suppress(KeyboardInterrupt):  # raised once more after the server has ended
            Server(make_app(models, settings)).run([listener])


def _name_address(host: str, listener: socket.socket) -> str:
    """Return the URL of a server."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
