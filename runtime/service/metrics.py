"""The service's metrics, in Prometheus's format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "wavepaint_requests",
            "Requests by method, route and status; 499 means that the client left.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._bytes = Counter("wavepaint_request_bytes", "Bytes in the bodies of requests.", registry=registry)
        self._seconds = Histogram(
            "wavepaint_fill_seconds",
            "Seconds of each phase of a fill: queue, decode, fill, encode.",
            ("phase",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "wavepaint_batch_photos", "Photos in one call.", buckets=(1, 2, 4, 8, 16), registry=registry
        )
        self._accepted = Gauge(
            "wavepaint_accepted_requests", "Requests accepted and not answered yet.", registry=registry
        )
        self._waiting = Gauge("wavepaint_waiting_photos", "Photos that wait for the engine.", registry=registry)

    def watch(self, count_accepted: Callable[[], int], count_waiting: Callable[[], int]) -> None:
        """Read the gauges from functions."""
        self._accepted.set_function(count_accepted)
        self._waiting.set_function(count_waiting)

    def count_request(self, method: str, route: str, status: int, num_bytes: int) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._bytes.inc(num_bytes)

    def observe_phase(self, phase: str, seconds: float) -> None:
        """Add the time of one phase of a fill."""
        self._seconds.labels(phase).observe(seconds)

    def observe_batch(self, num_photos: int) -> None:
        """Add the size of one batch."""
        self._batch.observe(num_photos)

    def expose(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)
