"""Run the application: one process, until a signal or a call ends it."""

import socket

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol
from wavepaint.errors import ConfigError, printable
from wavepaint.runtime.service.gate import SECURITY_HEADERS
from wavepaint.runtime.service.request_errors import RequestError
from wavepaint.runtime.service.service_settings import ServiceSettings

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: Address or name of an interface.
        port: Port; 0 takes a free one.

    Raises:
        ConfigError: The address is unknown or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a host name"
        raise ConfigError(f"{printable(host)} is no address of this machine: {reason} (--host).") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {port} of {printable(host)} cannot be used: {error.strerror}. Choose another one with --port; 0 "
            "takes a free one."
        ) from None
    return listener


class _Protocol(H11Protocol):
    """Answers what is no HTTP in the same form as all other errors."""

    def send_400_response(self, msg: str) -> None:
        message = "the request breaks HTTP: expected HTTP/1.1 with a Host header, and a body of the announced length."
        response = RequestError(400, message, "invalid_http", headers={"Connection": "close"}).to_response()
        headers = [
            *response.raw_headers,
            *((name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # an answer has begun
        self.transport.close()


class Server(uvicorn.Server):
    """A server that finishes what it accepted before it ends.

    SIGTERM and Ctrl-C end it, if it runs in the main thread, and so does :meth:`stop`.

    Args:
        app: What :func:`wavepaint.runtime.service.app.make_app` returned.
    """

    def __init__(self, app: Starlette) -> None:
        settings: ServiceSettings = app.state.settings
        longest_s = settings.timeout_s + 2 * settings.body_timeout_s
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="on",
                loop="asyncio",
                log_config=None,
                log_level="critical",  # the gate logs, without what requests contain
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=int(longest_s) + 1,
            )
        )
        self._app = app

    def stop(self) -> None:
        """End the server, from any thread."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams of open pages, which would never end, and finish all other requests."""
        self._app.state.is_ready = False
        self._app.state.presence.close()
        await super().shutdown(sockets)
