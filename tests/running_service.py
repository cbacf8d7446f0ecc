"""A service that really runs: an own thread, a free port of the loopback interface, and clients of it."""

import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from PIL import Image

from wavepaint import Inpainter
from wavepaint.runtime.service.app import make_app
from wavepaint.runtime.service.server import Server, listen
from wavepaint.runtime.service.service_settings import ServiceSettings


class Service:
    """A running service.

    Attributes:
        client: A client of it, whose addresses may be relative.
        port: Its port.
        server: Its server.
        thread: The thread in which it runs.
    """

    def __init__(self, client: httpx.Client, port: int, server: Server, thread: threading.Thread) -> None:
        self.client, self.port, self.server, self.thread = client, port, server, thread

    def fill(self, image: bytes, mask: bytes | None = None, **fields: Any) -> httpx.Response:
        """Send ``POST /v1/fill``."""
        files = {"image": image} | ({} if mask is None else {"mask": mask})
        return self.client.post("/v1/fill", files=files, data=fields)

    def read_metric(self, name: str) -> float:
        """Return the value of a metric, with its labels as Prometheus writes them; 0 if it was never counted."""
        headers = {key: value for key, value in self.client.headers.items() if key == "authorization"}
        lines = self.client.get("/metrics", headers=headers).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""
        wait_until(lambda: self.read_metric(name) == value)

    def send_raw(self, data: bytes) -> socket.socket:
        """Send bytes through a connection of its own, which stays open."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sendall(data)
        return connection


def wait_until(is_true: Any, seconds: float = 20) -> None:
    """Wait until a function returns true."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@contextmanager
def run_service(
    inpainters: Inpainter | Sequence[Inpainter], settings: ServiceSettings | None = None, **options: Any
) -> Iterator[Service]:
    """Run a service until the context ends."""
    server = Server(make_app(inpainters, settings, **options))
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    wait_until(lambda: server.started)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Service(client, port, server, thread)
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


class GatedInpainter(Inpainter):
    """A model that waits before each call until :attr:`gate` is set.

    Attributes:
        gate: Set while calls may begin.
        num_calls: Calls that came to the gate.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gate, self.num_calls = threading.Event(), 0

    def fill_photos(self, *arguments: Any, **options: Any) -> Any:
        """Fill photos once the gate is open."""
        self.num_calls += 1
        assert self.gate.wait(30)
        return super().fill_photos(*arguments, **options)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as a file."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def read_pixels(file: bytes) -> np.ndarray:
    """Return the pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(file)))
