"""What happens to every request before and after its route: access, bounds on the body, headers, errors, records."""

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from wavepaint.runtime.service.metrics import Metrics
from wavepaint.runtime.service.request_errors import RequestError
from wavepaint.runtime.service.service_settings import ANY_HOST, MIB, ServiceSettings

logger = logging.getLogger("wavepaint.service")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self' blob: data:; worker-src 'self' blob:; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer. With the second and third, browsers give a page threads for WebAssembly."""

PROBES = ("/healthz", "/readyz")
"""Answered for every Host and without a token. Kubernetes, which asks, knows neither."""

_SECRET = ("/v1/", "/api/", "/metrics")
"""Beginnings of the paths that need the token. The page is the same for everybody."""

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_METHODS = (*_SAFE_METHODS, "DELETE", "PATCH", "POST", "PUT")
"""Methods that appear in logs and metrics; clients may invent others."""

_SLOWEST_BYTES_PER_S = 128 << 10
"""A body that keeps this speed is never too slow."""

_CLIENT_GONE = 499
"""Status in logs and metrics of requests whose client left before the answer; nginx uses it, too."""


class Gate:
    """ASGI middleware around all routes.

    Args:
        app: The routes.
        settings: Access rules and limits.
        metrics: Where requests are counted.
        paths: The paths that have routes. Logs and metrics hold no others, because clients invent them.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._settings, self._metrics, self._paths = app, settings, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._settings)
        try:
            check_access(scope["path"], scope["method"], exchange.headers, self._settings)
            await self._app(scope, exchange.receive, exchange.send)
        except RequestError as error:
            await exchange.refuse(error, scope)
        except ClientDisconnect:
            exchange.is_gone = True
        except asyncio.CancelledError:  # the server ends by force, or later than it wanted
            message = "the service ended before the photo was filled. Send it again."
            await exchange.refuse(RequestError(503, message, "service_ended"), scope)
        except Exception as error:  # a defect of this package, which must not end the connection without an answer
            logger.error("%s: %s", self._name_route(scope), _locate(error))
            message = "the service failed. Its log says where."
            await exchange.refuse(RequestError(500, message, "internal_error"), scope)
        finally:
            self._record(scope, exchange)

    def _name_route(self, scope: Scope) -> str:
        path: str = scope["path"]
        return path if path in self._paths else "/page" if path.startswith("/page/") else "other"

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.started
        route, status = self._name_route(scope), _CLIENT_GONE if exchange.is_gone else exchange.status
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count_request(method, route, status, exchange.num_received)
        if route not in PROBES:
            logger.info(
                "%s %s %d, %d bytes in, %d bytes out, %.0f ms",
                *(method, route, status, exchange.num_received, exchange.num_sent, 1000 * seconds),
            )


class _Exchange:
    """One request and its answer: counts bytes, bounds the body, and reads it to its end before the answer.

    An answer before the end of the body is lost with the connection, because the system resets a connection that is
    closed with unread data.

    Attributes:
        headers: The request's headers.
        is_gone: Whether the client left before the answer was complete.
        status: Status of the answer; 0 before it.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: ServiceSettings) -> None:
        self.headers = Headers(scope=scope)
        self.started = time.perf_counter()
        self.num_received = self.num_sent = self.status = 0
        self.is_gone = False
        self._receive, self._send, self._settings = receive, send, settings
        self._is_read = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers
        self._is_over = False

    async def receive(self) -> Message:
        """Return the next part of the body, or the client's departure.

        Raises:
            RequestError: The body is too large or too slow.
        """
        limit = self._settings.max_body_bytes
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _refuse_size(limit)
        message = await self._receive_in_time()
        if self.num_received > limit:
            raise _refuse_size(limit)
        return message

    async def _receive_in_time(self) -> Message:
        allowed = self._settings.body_timeout_s + self.num_received / _SLOWEST_BYTES_PER_S
        left = None if self._is_read else self.started + allowed - time.perf_counter()
        try:
            message = await asyncio.wait_for(self._receive(), left)
        except TimeoutError:
            self._is_read = True  # what it still sends is not worth reading
            raise RequestError(
                408,
                f"the body arrived too slowly: {self.num_received} bytes in {allowed:.0f} s. Send it again, at "
                f"{_SLOWEST_BYTES_PER_S >> 10} KiB a second or faster.",
                "body_too_slow",
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            self._is_read = True
            self.is_gone = not self._is_over
        else:
            self.num_received += len(message.get("body", b""))
            self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            if not await self._drain():
                headers["Connection"] = "close"
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            self.status = message["status"]
        else:
            self.num_sent += len(message.get("body", b""))
            self._is_over = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, error: RequestError, scope: Scope) -> None:
        """Send a refusal, unless an answer has begun."""
        if not self.status and not self.is_gone:
            await error.to_response()(scope, self.receive, self.send)

    async def _drain(self) -> bool:
        """Read the rest of the body, up to twice the largest one; return whether it was read to its end."""
        if self._is_read:
            return True
        most = 2 * self._settings.max_body_bytes
        announced = self.headers.get("content-length", "")
        is_huge = announced.isdecimal() and int(announced) > most
        if is_huge or (not self.num_received and self.headers.get("expect", "").lower() == "100-continue"):
            return False  # the client waits for the status before it sends the body
        try:
            while not self._is_read and self.num_received <= most:
                await self._receive_in_time()
        except RequestError:
            return False
        return self._is_read


def _refuse_size(limit: int) -> RequestError:
    size = f"{limit / MIB:g} MiB" if limit >= MIB else f"{limit} bytes"
    message = f"the body is larger than {size}: send smaller files, or JPEG instead of PNG."
    return RequestError(413, message, "body_too_large")


def check_access(path: str, method: str, headers: Headers, settings: ServiceSettings) -> None:
    """Refuse a request by its Host, its Origin or its token.

    Raises:
        RequestError: It is refused.
    """
    if path in PROBES:
        return
    host = headers.get("host", "").lower()
    if ANY_HOST not in settings.hosts and _strip_port(host) not in [name.lower() for name in settings.hosts]:
        raise RequestError(
            421,
            "the Host header names another server. Use one of the names that this service was started with "
            "(--allow-host).",
            "wrong_host",
        )
    origin = headers.get("origin")
    if method not in _SAFE_METHODS and origin is not None and _find_netloc(origin) != host:
        raise RequestError(403, "requests from pages of other origins are refused.", "foreign_origin")
    if settings.token is not None and path.startswith(_SECRET):
        scheme, _, token = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(token.strip().encode("latin-1"), settings.token.encode())
        if scheme.lower() != "bearer" or not is_right:
            problem = "the token is wrong" if token else "the token is missing"
            raise RequestError(
                401,
                f"{problem}: expected the header Authorization: Bearer TOKEN.",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _strip_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and not host.endswith("]") else host


def _find_netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _locate(error: Exception) -> str:
    """Return the kind of an exception and the line that raised it, without its message, which may quote a request."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.filename}, line {frame.lineno}"
