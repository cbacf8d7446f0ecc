"""The queue: its bound, its deadline, clients that leave, and the end of the service."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from tests.running_service import GatedInpainter, Service, encode, run_service, wait_until
from wavepaint.runtime.service.service_settings import ServiceSettings

FILLED = "wavepaint_batch_photos_sum"


@contextmanager
def keep_busy(gated: GatedInpainter, service: Service, photo: bytes, mask: bytes) -> Iterator[None]:
    """Let the model wait with a photo until the context ends."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.fill, photo, mask)
        wait_until(lambda: gated.num_calls == 1)
        yield
        gated.gate.set()
        assert answer.result().status_code == 200


def test_a_full_queue_refuses_and_says_when_to_come_back(
    gated: GatedInpainter, photo_file: bytes, mask_file: bytes
) -> None:
    with (
        run_service(gated, ServiceSettings(queue=3)) as service,
        ThreadPoolExecutor() as pool,
        keep_busy(gated, service, photo_file, mask_file),
    ):
        waiting = [pool.submit(service.fill, photo_file, mask_file) for _ in range(2)]
        service.wait_for("wavepaint_waiting_photos", 2)
        refused = list(pool.map(lambda _: service.fill(bytes(500_000), mask_file), range(20)))
        for answer in refused:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        gated.gate.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert service.fill(photo_file, mask_file).status_code == 200


def test_a_photo_that_waits_too_long_is_refused_and_never_filled(
    gated: GatedInpainter, photo_file: bytes, mask_file: bytes
) -> None:
    with run_service(gated, ServiceSettings(timeout_s=1.0)) as service:
        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(lambda _: service.fill(photo_file, mask_file), range(2)))
        assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(504, "timeout")] * 2
        gated.gate.set()
        assert service.fill(photo_file, mask_file).status_code == 200
        assert (gated.num_calls, service.read_metric(FILLED)) == (2, 1)


def test_a_client_that_leaves_gives_its_place_back_before_the_model_begins(
    gated: GatedInpainter, photo_file: bytes, mask_file: bytes
) -> None:
    with (
        run_service(gated, ServiceSettings(queue=2)) as service,
        keep_busy(gated, service, photo_file, mask_file),
    ):
        request = service.client.build_request("POST", "/v1/fill", files={"image": photo_file, "mask": mask_file})
        lines = f"POST /v1/fill HTTP/1.1\r\nHost: localhost\r\nContent-Type: {request.headers['content-type']}\r\n"
        body = request.read()
        connection = service.send_raw(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        service.wait_for("wavepaint_accepted_requests", 2)
        assert service.fill(photo_file, mask_file).status_code == 503
        connection.close()
        service.wait_for("wavepaint_accepted_requests", 1)
        assert service.read_metric("wavepaint_waiting_photos") == 0
        gated.gate.set()
        assert service.fill(photo_file, mask_file).status_code == 200
    assert gated.num_calls == 2


def test_a_fill_that_nobody_waits_for_ends_at_the_next_crop(
    gated: GatedInpainter, mask_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hole has several crops; the client leaves during the first."""
    photo = np.random.default_rng(0).integers(0, 255, (64, 1200, 3), np.uint8)
    hole = np.zeros((64, 1200), bool)
    hole[20:40, 50:70] = hole[20:40, 600:620] = hole[20:40, 1150:1170] = True
    runs, go_on = [], threading.Event()
    infer = gated._session._infer

    def run(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        runs.append(len(image))
        assert go_on.wait(20)
        return infer(image, mask)

    monkeypatch.setattr(gated._session, "_infer", run)
    gated.gate.set()
    gated._scheduler._max_batch = 1
    with run_service(gated, ServiceSettings(timeout_s=1.0)) as service:
        assert service.fill(encode(photo), encode(hole)).status_code == 504
        go_on.set()
        monkeypatch.undo()
        assert service.fill(encode(photo), encode(hole)).status_code == 200
    assert runs == [1]


def test_stopping_finishes_what_was_accepted_and_refuses_the_rest(
    gated: GatedInpainter, photo_file: bytes, mask_file: bytes
) -> None:
    with run_service(gated) as service, ThreadPoolExecutor() as pool:
        answers = [pool.submit(service.fill, photo_file, mask_file) for _ in range(4)]
        service.wait_for("wavepaint_accepted_requests", 4)
        service.server.stop()
        wait_until(lambda: not service.server.servers[0].is_serving())
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{service.port}/healthz")
        gated.gate.set()
        assert [answer.result().status_code for answer in answers] == [200] * 4
        service.thread.join(20)
        assert not service.thread.is_alive()


def test_a_service_that_must_end_at_once_says_so_to_whoever_waits(
    gated: GatedInpainter, photo_file: bytes, mask_file: bytes
) -> None:
    with run_service(gated) as service, ThreadPoolExecutor() as pool:
        answers = [pool.submit(service.fill, photo_file, mask_file) for _ in range(3)]
        service.wait_for("wavepaint_accepted_requests", 3)
        service.server.config.timeout_graceful_shutdown = 0.1
        service.server.stop()
        for answer in answers:
            assert (answer.result().status_code, answer.result().json()["error"]["code"]) == (503, "service_ended")
        gated.gate.set()


def test_a_service_is_ready_while_its_threads_run(gated: GatedInpainter) -> None:
    with run_service(gated) as service:
        assert service.client.get("/readyz").json() == {"status": "ready"}
        service.server._app.state.queue.close()
        assert service.client.get("/readyz").status_code == 503
        assert service.client.get("/healthz").status_code == 200
