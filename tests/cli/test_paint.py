"""``wp paint``: a service that begins with a photo and ends with its page."""

import json
import sys
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Wp, assert_refused
from wavepaint.contract import Bundle
from wavepaint.runtime.service import presence


class Visit:
    """Stands for the browser: reads what the page asks for, then leaves."""

    def __init__(self) -> None:
        self.address = ""
        self.photo: tuple[str, str, bytes] | None = None
        self.models: list[dict[str, object]] = []

    def __call__(self, address: str) -> bool:
        self.address = address
        base = address.partition("#")[0]
        with urlopen(f"{base}v1/alive", timeout=30) as alive:
            assert alive.readline() == b"data: open\n"
            with urlopen(f"{base}v1/models", timeout=30) as answer:
                self.models = json.load(answer)["data"]
            if address.endswith("#photo"):
                with urlopen(f"{base}v1/photo", timeout=30) as answer:
                    headers = answer.headers
                    self.photo = (headers["Content-Type"], headers["Content-Disposition"], answer.read())
        return True


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Visit:
    visit = Visit()
    monkeypatch.setattr(presence, "GRACE_S", 0.05)
    monkeypatch.setattr(presence, "_BEAT_S", 0.1)
    monkeypatch.setattr(webbrowser, "open", visit)
    return visit


def test_page_opens_with_the_photo_and_ends_the_command(
    wp_here: Wp, visit: Visit, photo_files: tuple[Path, Path], full_bundle: Bundle
) -> None:
    photo = photo_files[0].rename(photo_files[0].with_name("my phöto.png"))
    result = wp_here("paint", photo, "--bundle", full_bundle.folder, "--engine", "ort-cpu")
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    assert visit.address in result.stderr.decode()
    assert visit.address.endswith("/#photo")
    assert urlsplit(visit.address).hostname == "127.0.0.1"
    assert visit.photo == ("image/png", "inline; filename*=UTF-8''my%20ph%C3%B6to.png", photo.read_bytes())
    assert visit.models[0]["size_multiple"] == full_bundle.manifest.size_multiple


def test_page_opens_without_a_photo(wp_here: Wp, visit: Visit, full_bundle: Bundle) -> None:
    result = wp_here("paint", "--bundle", full_bundle.folder, "--engine", "ort-cpu")
    assert result.returncode == 0, result.stderr
    assert visit.address.endswith("/#paint")
    assert visit.photo is None


def test_what_is_no_photo_is_refused_before_a_page_opens(wp_here: Wp, visit: Visit, tmp_path: Path) -> None:
    assert_refused(wp_here("paint", tmp_path / "missing.jpg"), "missing.jpg does not exist")
    (tmp_path / "note.jpg").write_text("no photo")
    assert_refused(wp_here("paint", tmp_path / "note.jpg"), "note.jpg")
    assert_refused(wp_here("paint", tmp_path), str(tmp_path))
    assert visit.address == ""


def test_a_missing_extra_is_named(wp_here: Wp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert_refused(wp_here("paint"), "starlette is not installed", "serve")
