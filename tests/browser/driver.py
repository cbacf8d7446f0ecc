"""A small WebDriver client: Chromium through ChromeDriver, without a package of its own.

Source: W3C, WebDriver, https://www.w3.org/TR/webdriver2/.
"""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1200,800",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_KEYS = {"Control": "\ue009", "Shift": "\ue008", "Alt": "\ue00a", "Enter": "\ue007", "Escape": "\ue00c"}

Point = tuple[float, float]


class Browser:
    """One window of Chromium.

    Args:
        folder: Folder for its profile and its downloads.
    """

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        assert CHROMIUM
        assert CHROMEDRIVER
        self._process = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._address = next(
            f"http://127.0.0.1:{found[1]}"
            for line in self._process.stdout
            if (found := re.search(r"started successfully on port (\d+)", line))
        )
        options = {
            "binary": CHROMIUM,
            "args": [*_FLAGS, f"--user-data-dir={folder / 'profile'}"],
            "prefs": {"download.default_directory": str(self.downloads)},
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "unhandledPromptBehavior": "accept",
        }
        session = self._send("POST", "/session", capabilities={"alwaysMatch": wanted})
        self._session = f"/session/{session['sessionId']}"
        self._send("POST", f"{self._session}/timeouts", script=60_000)

    def _send(self, method: str, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self._address + path, method=method, data=json.dumps(body).encode() if method == "POST" else None
        )
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def close(self) -> None:
        """End the browser and its driver."""
        self._send("DELETE", self._session)
        self._process.terminate()
        self._process.wait()

    def open(self, address: str) -> None:
        """Go to a page, and forget what was logged before."""
        self._send("POST", f"{self._session}/url", url=address)

    def read_log(self, kind: str) -> list[dict[str, Any]]:
        """Return and forget the entries of a log: "browser" or "performance"."""
        entries: list[dict[str, Any]] = self._send("POST", f"{self._session}/se/log", type=kind)
        return entries

    def list_requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.read_log("performance")]
        sent = (each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent")
        return list(sent)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async JavaScript function and return its result."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{ {script} }})(...arguments).then((value) => done({{ value }}),"
            " (error) => done({ error: `${error.name}: ${error.message}` }));"
        )
        result = self._send("POST", f"{self._session}/execute/async", script=wrapped, args=list(arguments))
        assert "error" not in result, result["error"]
        return result.get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition});"):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.05)

    def find(self, selector: str) -> str:
        """Return the identifier of an element."""
        found = self._send("POST", f"{self._session}/element", using="css selector", value=selector)
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """Click on an element."""
        self._send("POST", f"{self._session}/element/{self.find(selector)}/click")

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in an input."""
        self._send("POST", f"{self._session}/element/{self.find(selector)}/value", text=str(path))

    def press(self, *keys: str) -> None:
        """Press keys together, for example ``press("Control", "z")``."""
        codes = [_KEYS.get(key, key) for key in keys]
        actions = [{"type": "keyDown", "value": code} for code in codes]
        actions += [{"type": "keyUp", "value": code} for code in reversed(codes)]
        self._send("POST", f"{self._session}/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def drag(self, *paths: Sequence[Point], kind: str = "mouse") -> None:
        """Move one pointer along each path at the same time, pressed; paths are in CSS pixels of the window."""
        sources = [
            {
                "type": "pointer",
                "id": f"{kind} {index}",
                "parameters": {"pointerType": kind},
                "actions": [
                    _move(path[0]),
                    {"type": "pointerDown", "button": 0},
                    *map(_move, path[1:]),
                    {"type": "pointerUp", "button": 0},
                ],
            }
            for index, path in enumerate(paths)
        ]
        self._send("POST", f"{self._session}/actions", actions=sources)

    def read_canvas(self, selector: str) -> np.ndarray:
        """Return the pixels of a canvas, (H, W, 4) uint8."""
        width, height, pixels = self.run(
            "const canvas = document.querySelector(args[0]);"
            "const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
            "const blob = new Blob([data]); const reader = new FileReader();"
            "await new Promise((resolve) => { reader.onload = resolve; reader.readAsDataURL(blob); });"
            "return [canvas.width, canvas.height, reader.result.split(',')[1]];",
            selector,
        )
        return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)


def _move(point: Point) -> dict[str, Any]:
    return {"type": "pointerMove", "x": round(point[0]), "y": round(point[1]), "duration": 15}
