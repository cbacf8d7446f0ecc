"""wp serve as a process of its own: curl, SIGTERM, a kill, and wrong arguments."""

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Wp, assert_refused
from tests.running_service import encode, wait_until
from wavepaint import FillOptions, Inpainter, optional
from wavepaint.contract import Bundle

TOKEN = "correct-horse-battery"


@contextmanager
def serve(*arguments: object) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run ``wp serve`` on a free port; yield its address and its process."""
    command = [sys.executable, "-m", "wavepaint", "serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.match(r"(http://\S+) \(convolution, ONNX Runtime ", line)
            assert found, line
            yield found[1], process
        finally:
            process.kill()


def test_curl_gets_the_library_s_pixels_and_sigterm_finishes_what_was_accepted(
    full_bundle: Bundle, photo_files: tuple[Path, Path], tmp_path: Path
) -> None:
    image, mask = photo_files
    arguments = (full_bundle.folder, "--engine", "ort-cpu", "--streams", "1", "--token", TOKEN)
    with serve(*arguments) as (address, process):
        if shutil.which("curl"):
            form = ["-F", f"image=@{image}", "-F", f"mask=@{mask}", "-F", "dilate=2"]
            command = ["curl", "-sf", "-H", f"Authorization: Bearer {TOKEN}", *form, f"{address}/v1/fill"]
            curl = subprocess.run([*command, "-o", str(tmp_path / "filled.png")], check=False)
            assert curl.returncode == 0
        statuses: list[int] = []

        def fill() -> None:
            files = {"image": image.read_bytes(), "mask": mask.read_bytes()}
            headers = {"authorization": f"Bearer {TOKEN}"}
            statuses.append(httpx.post(f"{address}/v1/fill", files=files, headers=headers, timeout=30).status_code)

        threads = [threading.Thread(target=fill) for _ in range(8)]
        for thread in threads:
            thread.start()
        headers = {"authorization": f"Bearer {TOKEN}"}

        def have_all_come() -> bool:
            metrics = httpx.get(f"{address}/metrics", headers=headers).text
            accepted = float(re.findall(r"^wavepaint_accepted_requests (\S+)", metrics, re.M)[0])
            return accepted + len(statuses) == len(threads)

        wait_until(have_all_come)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(30) == -signal.SIGTERM
        assert statuses == [200] * len(threads)
        assert process.stderr is not None
        log = process.stderr.read()
    assert log.count("POST /v1/fill 200, ") >= len(threads)
    assert "Traceback" not in log
    if (tmp_path / "filled.png").exists():
        with Inpainter(full_bundle.folder, engine="ort-cpu", threads=1) as inpainter:
            expected = inpainter.fill(image, mask, FillOptions(dilate=2))
        assert (tmp_path / "filled.png").read_bytes() == encode(expected, compress_level=3)


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("--host", "0.0.0.0"), "needs a token: set WAVEPAINT_TOKEN", 1),
        (("--host", "0.0.0.0", "--token", TOKEN), "--allow-host paint.example.org", 1),
        (("--token", "secret"), "the token has 6 characters: expected 16 or more", 1),
        (("--allow-host", "http://a.org"), "http://a.org is not a host", 1),
        (("--host", "nowhere.invalid", "--token", TOKEN), "nowhere.invalid is no address of this machine", 1),
        (("no-such-bundle",), "no-such-bundle does not exist", 1),
        (("--port", "65536"), "--port", 2),
        (("--timeout", "0"), "--timeout", 2),
    ],
)
def test_wrong_arguments_are_refused(wp_here: Wp, arguments: tuple[str, ...], words: str, status: int) -> None:
    assert_refused(wp_here("serve", "--port", "0", *arguments), words, status=status)


def test_a_missing_package_is_named_with_the_extra_that_installs_it(
    wp_here: Wp, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = optional.importlib.import_module

    def import_module(name: str) -> object:
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return find(name)

    monkeypatch.setattr(optional.importlib, "import_module", import_module)
    assert_refused(wp_here("serve"), "uvicorn is not installed", "[serve]")
