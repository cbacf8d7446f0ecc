"""A running service answers every hostile request, never with 500, and goes on."""

from collections import Counter

import pytest

from tests.hostile import count_examples
from tests.hostile.requests import check_answer, make_requests
from tests.running_service import Service, run_service
from wavepaint import Inpainter
from wavepaint.contract import Bundle
from wavepaint.runtime.service.service_settings import ServiceSettings


def send(service: Service, request: bytes) -> bytes:
    """Send a request, close the sending side, and return all that comes back."""
    with service.send_raw(b"") as connection:
        answer = b""
        try:
            connection.sendall(request)
            while chunk := connection.recv(1 << 20):
                answer += chunk
        except (TimeoutError, ConnectionError):
            pass
        return answer


@pytest.mark.filterwarnings("ignore")
def test_hostile_requests_are_answered_and_never_with_500(full_bundle: Bundle) -> None:
    settings = ServiceSettings(max_body_bytes=1 << 20, body_timeout_s=0.2)
    with (
        Inpainter(full_bundle.folder, engine="ort-cpu", threads=1) as inpainter,
        run_service(inpainter, settings) as service,
    ):
        requests = make_requests(seed=0, count=count_examples(150))
        statuses = Counter(check_answer(send(service, request)) for request in requests)
        assert service.client.get("/readyz").status_code == 200
    assert statuses[200] >= 8
    assert {400, 405, 413, 415, 421} <= set(statuses)


def test_the_same_seed_makes_the_same_requests() -> None:
    first, second = (list(make_requests(seed=1, count=20)) for _ in range(2))
    assert first == second
