"""What every request passes: Host, Origin, token, bounds on the body, headers; and answers that always arrive."""

import logging
import socket
from collections.abc import Iterator

import pytest

from tests.running_service import Service, run_service, wait_until
from wavepaint import Inpainter
from wavepaint.runtime.service.service_settings import ServiceSettings

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def closed(inpainter: Inpainter) -> Iterator[Service]:
    """A service that asks for a token."""
    with run_service(inpainter, ServiceSettings(token=TOKEN, hosts=("paint.example.org", "127.0.0.1"))) as running:
        yield running


def read_answer(connection: socket.socket) -> str:
    """Return all that a connection sends until it closes."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data.decode()


@pytest.mark.parametrize("host", ["evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org:80", "", "[::2]"])
def test_a_foreign_host_is_refused(service: Service, host: str) -> None:
    answer = service.client.get("/v1/models", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:8080", "[::1]", "[::1]:80"])
def test_the_names_of_this_machine_are_answered(service: Service, host: str) -> None:
    assert service.client.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://127.0.0.1:1", "http://[", "file://"])
def test_pages_of_other_origins_cannot_post(service: Service, photo_file: bytes, mask_file: bytes, origin: str) -> None:
    files = {"image": photo_file, "mask": mask_file}
    answer = service.client.post("/v1/fill", files=files, headers={"origin": origin})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")


def test_the_services_own_page_can_post(service: Service, photo_file: bytes, mask_file: bytes) -> None:
    headers = {"origin": f"http://127.0.0.1:{service.port}"}
    answer = service.client.post("/v1/fill", files={"image": photo_file, "mask": mask_file}, headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/v1/fill", "/v1/models", "/v1/model.onnx", "/v1/photo", "/api/v1/inpaint", "/metrics"]
)
@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x"])
def test_the_api_asks_for_the_token(closed: Service, path: str, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    answer = closed.client.request("POST" if "fill" in path else "GET", path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_the_token_opens_the_api_and_probes_need_none(closed: Service) -> None:
    assert closed.client.get("/v1/models", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
    for path in ("/healthz", "/readyz"):
        assert closed.client.get(path, headers={"host": "10.0.0.1"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/fill", 405), ("DELETE", "/v1/models", 405), ("POST", "/", 405), ("GET", "/etc/passwd", 404),
     ("POST", "/v1/none", 404), ("GET", "/page/../app.py", 404), ("GET", "/page/%2e%2e/app.py", 404)],
)  # fmt: skip
def test_wrong_methods_and_paths_are_refused_in_json(service: Service, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/models", "/none", "/healthz"])
def test_every_answer_has_the_security_headers(service: Service, path: str) -> None:
    headers = service.client.get(path).headers
    assert "script-src 'self' 'wasm-unsafe-eval';" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def make_body(size: int, chunked: bool) -> bytes | Iterator[bytes]:
    return (bytes(65536) for _ in range(size // 65536)) if chunked else bytes(size)


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(service: Service, chunked: bool) -> None:
    """The limit is 1 MiB; the client sends everything before it reads."""
    for _ in range(5):
        answer = service.client.post("/v1/fill", content=make_body(3 << 19, chunked))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert "larger than 1 MiB" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/none", "/v1/models", "/v1/fill"])
def test_a_refusal_of_any_kind_arrives_after_the_body(service: Service, path: str) -> None:
    answer = service.client.post(path, content=bytes(900_000), headers={"origin": "http://evil.org"})
    assert answer.status_code == 403


def test_a_client_that_asks_first_need_not_send_its_body(service: Service) -> None:
    lines = "POST /v1/fill HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9000000000\r\n\r\n"
    with service.send_raw(lines.encode()) as connection:
        answer = read_answer(connection)
    assert answer.startswith("HTTP/1.1 413 ")
    assert "connection: close" in answer.lower()


def test_a_slow_body_is_refused(service: Service) -> None:
    lines = "POST /v1/fill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    with service.send_raw(lines.encode()) as connection:
        answer = read_answer(connection)
    assert answer.startswith("HTTP/1.1 408 ")
    assert "3 bytes in 1 s" in answer


@pytest.mark.parametrize("ending", ["\r\n\r\n", "\r\nContent-Length: 1000\r\n\r\nabc"], ids=["headers", "half a body"])
def test_a_client_that_leaves_early_costs_nothing(service: Service, ending: str) -> None:
    left = 'wavepaint_requests_total{method="POST",route="/v1/fill",status="499"}'
    before = service.read_metric(left)
    start = f"POST /v1/fill HTTP/1.1\r\nHost: localhost{ending}"
    service.send_raw((start if "abc" in ending else start[:-6]).encode()).close()
    if "abc" in ending:
        service.wait_for(left, before + 1)
    assert service.client.get("/healthz").status_code == 200


def test_the_log_has_routes_sizes_and_times_and_nothing_else(
    service: Service, photo_file: bytes, mask_file: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "wavepaint.service"):
        service.client.post("/v1/fill", files={"image": ("secret.png", photo_file), "mask": mask_file})
        service.client.get("/secret/path?secret")
        wait_until(lambda: len(caplog.messages) == 2)  # the line follows the answer
    assert caplog.messages[0].startswith("POST /v1/fill 200, ")
    assert caplog.messages[1].startswith("GET other 404, 0 bytes in, ")
    assert "secret" not in caplog.text


def test_a_defect_is_answered_with_json_and_logged_without_the_request(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bytes:
        raise ValueError("secret of the request")

    monkeypatch.setattr("wavepaint.runtime.service.metrics.Metrics.expose", lambda self: fail())
    answer = service.client.get("/metrics")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "ValueError in " in caplog.text
    assert "secret" not in caplog.text + answer.text
