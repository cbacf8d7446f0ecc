"""A browser, and the page with a model of one convolution, which runs at once."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.browser.driver import CHROMEDRIVER, CHROMIUM, Browser, Point
from wavepaint.contract import Bundle
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.service.app import make_app
from wavepaint.runtime.service.server import Server, listen
from wavepaint.runtime.service.static_page import write_page


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("needs Chromium and ChromeDriver")
    window = Browser(tmp_path_factory.mktemp("browser"))
    yield window
    window.close()


@pytest.fixture(scope="session")
def inpainter(full_bundle: Bundle) -> Iterator[Inpainter]:
    with Inpainter(full_bundle.folder, engine="ort-cpu", precision="float16") as model:
        yield model


@pytest.fixture(scope="session")
def served(inpainter: Inpainter) -> Iterator[str]:
    """The address of a service."""
    listener = listen("127.0.0.1", 0)
    server = Server(make_app(inpainter))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.stop()
    thread.join()


@pytest.fixture(scope="session")
def static(full_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page on a host that hands out files."""
    with host_page(full_bundle, tmp_path_factory.mktemp("static") / "site") as address:
        yield address


@contextmanager
def host_page(bundle: Bundle, folder: Path) -> Iterator[str]:
    write_page(folder, bundle)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


class Page:
    """The page in a browser, with what a person does there."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        self.address = address
        browser.open(address)
        browser.read_log("browser")
        browser.list_requests()
        browser.open(f"{address}?fresh")  # so that the log has everything the page asks for

    def open(self, photo: Path) -> None:
        self.browser.choose_file("#file", photo)
        self.wait_for(photo.name)

    def wait_for(self, name: str) -> None:
        self.browser.wait(f"document.title.startsWith({name!r}) && document.querySelector('#busy').hidden")

    def place(self, *points: Point) -> list[Point]:
        """Return where points of the photo are in the window."""
        left, top, scale = self.browser.run(
            "const canvas = document.querySelector('#sheet canvas'); const box = canvas.getBoundingClientRect();"
            "return [box.left, box.top, box.width / canvas.width];"
        )
        return [(left + x * scale, top + y * scale) for x, y in points]

    def mark(self, left: int, top: int, right: int, bottom: int) -> None:
        """Draw a rectangle with the tool of that name."""
        self.browser.press("r")
        self.browser.drag(self.place((left, top), ((left + right) / 2, bottom), (right, bottom)))

    def fill(self) -> None:
        self.browser.run("document.querySelector('#facts').textContent = '';")
        self.browser.click("#fill")
        self.browser.wait("document.querySelector('#facts').textContent || document.querySelector('.notice.error')")
        assert self.read_errors() == []

    def read_errors(self) -> list[str]:
        found: list[str] = self.browser.run(
            "return [...document.querySelectorAll('.notice.error span')].map((each) => each.textContent);"
        )
        return found

    def read_photo(self) -> np.ndarray:
        return self.browser.read_canvas("#sheet canvas")[..., :3]

    def read_hole(self) -> np.ndarray:
        return self.browser.read_canvas("#mask")[..., 3] >= 128

    def download(self, name: str) -> Path:
        """Wait for a download."""
        path = self.browser.downloads / name
        self.browser.wait("true")
        for _ in range(400):
            if path.exists():
                return path
            threading.Event().wait(0.05)
        raise AssertionError(f"{name} was not downloaded")


@pytest.fixture
def page(browser: Browser, served: str) -> Page:
    return Page(browser, served)
