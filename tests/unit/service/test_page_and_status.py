"""The files of the page, the photo it opens, and what the service tells about itself."""

import threading
from pathlib import Path

import pytest

from tests.running_service import Service, run_service, wait_until
from tests.unit.service.conftest import LIMITS
from wavepaint import Inpainter
from wavepaint.errors import ConfigError
from wavepaint.runtime.service import page_files, presence
from wavepaint.runtime.service.fields import OPTIONS
from wavepaint.runtime.service.page_files import PaintPhoto
from wavepaint.runtime.service.server import listen
from wavepaint.runtime.service.service_settings import ServiceSettings, choose_hosts


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of a few files in place of the real one."""
    (tmp_path / "vendor").mkdir()
    (tmp_path / "index.html").write_text("<title>paint</title>")
    (tmp_path / "main.mjs").write_text("export {}")
    (tmp_path / "vendor" / "ort.wasm").write_bytes(b"\0asm")
    (tmp_path / "notes.py").write_text("secret")
    monkeypatch.setattr(page_files, "PAGE_FOLDER", tmp_path)
    page_files.list_page_files.cache_clear()
    yield tmp_path
    page_files.list_page_files.cache_clear()


def test_the_page_has_the_media_types_that_browsers_need(page: Path, service: Service) -> None:
    kinds = {"/": "text/html; charset=utf-8", "/page/main.mjs": "text/javascript; charset=utf-8"}
    for path, kind in {**kinds, "/page/vendor/ort.wasm": "application/wasm"}.items():
        answer = service.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["cache-control"] == "no-cache"
        again = service.client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["notes.py", "../app.py", "%2e%2e/app.py", "vendor", "vendor/", "/etc/passwd", ""])
def test_nothing_but_the_pages_files_is_served(page: Path, service: Service, path: str) -> None:
    answer = service.client.get(f"/page/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_model_for_browsers_is_the_bundles_file(service: Service, inpainter: Inpainter) -> None:
    answer = service.client.get("/v1/model.onnx")
    assert answer.content == (inpainter.bundle.folder / "model.fp16.uint8.onnx").read_bytes()


def test_a_bundle_without_that_file_says_how_to_make_it(
    service: Service, inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(inpainter.bundle.manifest.files, "model.fp16.uint8.onnx")
    answer = service.client.get("/v1/model.onnx")
    assert answer.status_code == 404
    assert "--fp16 --io uint8" in answer.json()["error"]["message"]


def test_the_photo_of_the_page_comes_with_its_name(inpainter: Inpainter, photo_file: bytes) -> None:
    with run_service(inpainter, photo=PaintPhoto(photo_file, "caf\u00e9 1.png", "image/png")) as service:
        answer = service.client.get("/v1/photo")
    assert (answer.content, answer.headers["content-type"]) == (photo_file, "image/png")
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''caf%C3%A9%201.png"


def test_without_a_photo_there_is_none(service: Service) -> None:
    assert service.client.get("/v1/photo").status_code == 404


def test_the_service_notices_when_the_last_page_is_closed(
    inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GRACE_S", 0.2)
    left = threading.Event()
    with run_service(inpainter, on_leave=left.set) as service:
        with service.client.stream("GET", "/v1/alive") as first:
            assert first.headers["content-type"].startswith("text/event-stream")
            with service.client.stream("GET", "/v1/alive") as second:
                assert next(second.iter_raw()) == b"data: open\n\n"
            assert not left.wait(0.4)
        assert left.wait(10)


def test_an_open_page_does_not_keep_the_service_from_ending(inpainter: Inpainter) -> None:
    with run_service(inpainter) as service, service.client.stream("GET", "/v1/alive") as page:
        next(page.iter_raw())
        service.server.stop()
        wait_until(lambda: not service.thread.is_alive(), 5)


def test_models_are_listed_as_openai_does(service: Service, inpainter: Inpainter) -> None:
    (model,) = service.client.get("/v1/models").json()["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("convolution", "model", "wavepaint")
    assert f"{model['engine']} {model['precision']}" == inpainter.engine
    assert model["size_multiple"] == 8


def test_the_description_names_every_route_and_every_option(service: Service) -> None:
    described = service.client.get("/v1/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    routes = {route.path for route in service.server._app.routes}
    assert set(described["paths"]) == routes - {"/", "/page/{path:path}", "/v1/photo", "/v1/alive"}
    form = described["paths"]["/v1/fill"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"image", "mask", "format", *OPTIONS}


def test_metrics_count_requests_by_route_and_status(service: Service) -> None:
    counted = 'wavepaint_requests_total{method="GET",route="other",status="404"}'
    before = service.read_metric(counted)
    for path in ("/a", "/b"):
        service.client.get(path)
    service.wait_for(counted, before + 2)
    assert service.client.get("/metrics").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("host", "allowed", "token", "words"),
    [
        ("0.0.0.0", ("a.org",), None, "needs a token"),
        ("192.168.0.9", (), None, "needs a token"),
        ("0.0.0.0", (), "0123456789abcdef", "--allow-host"),
        ("::", (), "0123456789abcdef", "--allow-host"),
    ],
)
def test_other_machines_need_a_token_and_a_name(
    host: str, allowed: tuple[str, ...], token: str | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        choose_hosts(host, allowed, token)


def test_the_hosts_that_are_answered_follow_from_the_address() -> None:
    assert choose_hosts("127.0.0.1", (), None)[:3] == ("localhost", "127.0.0.1", "[::1]")
    assert "[fe80::1]" in choose_hosts("fe80::1", (), "0123456789abcdef")
    assert {"paint.local", "a.org"} <= set(choose_hosts("paint.local", ("a.org",), "0123456789abcdef"))


@pytest.mark.parametrize(
    "values",
    [{"token": "short"}, {"token": "with spaces in the token"}, {"hosts": ("http://a.org",)}, {"queue": 0},
     {"timeout_s": 0.0}, {"timeout_s": float("nan")}, {"max_pixels": 0}, {"max_body_bytes": 0}],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        ServiceSettings(**values)
    assert LIMITS.queue == 64


def test_a_port_that_is_taken_is_refused() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(ConfigError, match="cannot be used"):
        listen("127.0.0.1", listener.getsockname()[1])
