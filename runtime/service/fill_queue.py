"""The bounded queue between requests and the model."""

import asyncio
import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.service.metrics import Metrics
from wavepaint.runtime.service.orders import Answer, DroppedError, Order, fill_orders
from wavepaint.runtime.service.request_errors import RequestError
from wavepaint.runtime.service.service_settings import ServiceSettings

logger = logging.getLogger("wavepaint.service")

_LONGEST_RETRY_S = 60

_LONGEST_END_S = 1.0
"""Seconds to wait for threads at the end. Those that need longer do what nobody waits for."""


class _Job:
    """An order, and where its answer goes."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.accepted = time.perf_counter()
        self.is_dropped = False
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Answer] = self._loop.create_future()

    def finish(self, outcome: Answer | RequestError) -> None:
        """Hand over the outcome, from any thread."""

        def set_outcome() -> None:
            if self.future.done():
                return
            if isinstance(outcome, RequestError):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)

        with suppress(RuntimeError):  # the server was ended by force, and its loop is closed
            self._loop.call_soon_threadsafe(set_outcome)


class FillQueue:
    """Fills photos in a few threads, in the order in which they were accepted.

    A thread that is free takes what waits with equal options, up to the model's ``max_batch``. It never waits for more.

    Args:
        inpainters: The model of each thread. Threads may share one.
        settings: The limits.
        metrics: Where times and batches are counted.
    """

    def __init__(self, inpainters: Sequence[Inpainter], settings: ServiceSettings, metrics: Metrics) -> None:
        self._inpainters, self._settings, self._metrics = inpainters, settings, metrics
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._num_accepted = 0
        self._mean_s = 1.0
        metrics.watch(lambda: self._num_accepted, lambda: len(self._jobs))

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Take a place until the context ends.

        Raises:
            RequestError: There is none.
        """
        if self._num_accepted >= self._settings.queue:
            raise self.refuse_full()
        self._num_accepted += 1
        try:
            yield
        finally:
            self._num_accepted -= 1

    def refuse_full(self) -> RequestError:
        """Return the refusal of a request that has no place, with the seconds after which one is likely."""
        wait_s = self._num_accepted * self._mean_s / max(len(self._inpainters), 1)
        retry_s = min(max(math.ceil(wait_s / 2), 1), _LONGEST_RETRY_S)
        return RequestError(
            503,
            f"the service is full. Try again in {retry_s} s.",
            "queue_full",
            headers={"Retry-After": str(retry_s)},
        )

    async def fill(self, order: Order) -> Answer:
        """Fill a photo. If the caller is cancelled, the photo loses its turn, or its work soon stops.

        Raises:
            RequestError: It cannot be filled, or not in time.
        """
        job = _Job(order)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await job.future
        except TimeoutError:
            raise RequestError(
                504,
                f"the photo was not filled within {self._settings.timeout_s:g} s. Try again later, or send a smaller "
                "photo.",
                "timeout",
            ) from None
        finally:
            self._drop(job)

    def _drop(self, job: _Job) -> None:
        job.is_dropped = True
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def open(self) -> None:
        """Start the threads."""
        self._threads = [
            threading.Thread(target=self._work, args=(inpainter,), name=f"service-{index}", daemon=True)
            for index, inpainter in enumerate(self._inpainters)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop the threads after what they do now."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        end = time.monotonic() + _LONGEST_END_S
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))

    @property
    def is_working(self) -> bool:
        """Whether the threads run."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def _work(self, inpainter: Inpainter) -> None:
        while group := self._take(inpainter.max_batch):
            for job, outcome in zip(group, self._fill(inpainter, group), strict=True):
                job.finish(outcome)

    def _take(self, max_batch: int) -> list[_Job]:
        """Return the first job and others that can share its call; none once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            if self._is_closed:
                return []
            group = [self._jobs.popleft()]
            num_pixels = group[0].order.num_pixels
            for job in list(self._jobs):
                if len(group) == max_batch:
                    break
                fits = num_pixels + job.order.num_pixels <= self._settings.max_pixels
                if fits and job.order.options == group[0].order.options:
                    num_pixels += job.order.num_pixels
                    self._jobs.remove(job)
                    group.append(job)
            return group

    def _fill(self, inpainter: Inpainter, group: list[_Job]) -> list[Answer | RequestError]:
        started = time.perf_counter()

        def check() -> None:
            if all(job.is_dropped for job in group):
                raise DroppedError

        try:
            outcomes = fill_orders(inpainter, [job.order for job in group], check)
        except DroppedError:
            return [RequestError(504, "nobody waits for this photo.", "timeout") for _ in group]
        except Exception as error:  # a defect of this package, which must not end the thread
            frame = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("fill: %s in %s, line %d", type(error).__name__, frame.filename, frame.lineno)
            return [RequestError(500, "the service failed. Its log says where.", "internal_error") for _ in group]
        self._mean_s += 0.2 * ((time.perf_counter() - started) / len(group) - self._mean_s)
        self._metrics.observe_batch(len(group))
        for job, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Answer):
                outcome.seconds["queue"] = started - job.accepted
                for phase, seconds in outcome.seconds.items():
                    self._metrics.observe_phase(phase, seconds)
        return outcomes
