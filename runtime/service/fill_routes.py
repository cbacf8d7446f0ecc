"""From a request to its answer: read the body, make an order, wait for the answer. ``POST /v1/fill``."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from wavepaint.runtime.service.bodies import BodyStore
from wavepaint.runtime.service.fields import OPTIONS, refuse_query, refuse_unknown, take_options
from wavepaint.runtime.service.fill_queue import FillQueue
from wavepaint.runtime.service.forms import parse_form
from wavepaint.runtime.service.orders import Answer, Order, make_order
from wavepaint.runtime.service.result_formats import choose_suffix

MakeOrder = Callable[[bytes, str], Order]
"""Makes an order from a body and its Content-Type, in a thread."""


class Filler:
    """Answers requests that contain a photo and a mask.

    Args:
        queue: Where the photos wait for the model.
        store: The memory for bodies.
    """

    def __init__(self, queue: FillQueue, store: BodyStore) -> None:
        self._queue, self._store = queue, store

    async def fill(self, request: Request, make_order: MakeOrder) -> Answer:
        """Read a request and fill its photo.

        The queue has a place for it or has not once its body is read, and only then is the body looked at.

        Raises:
            RequestError: The request is wrong, the service is full, or the photo cannot be filled.
            ClientDisconnect: The client is gone.
        """
        refuse_query(request.query_params)
        async with self._store.read(request) as body:
            if body is None:
                raise self._queue.refuse_full()
            with self._queue.reserve():
                order = await run_in_threadpool(make_order, body, request.headers.get("content-type", ""))
                del body
                return await _stop_if_gone(request, self._queue.fill(order))


async def _stop_if_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return the result of work that is cancelled if the client leaves.

    Raises:
        ClientDisconnect: The client left.
    """
    task, departure = asyncio.create_task(work), asyncio.create_task(_wait_for_departure(request))
    try:
        await asyncio.wait((task, departure), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        task.cancel()
        departure.cancel()


async def _wait_for_departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def make_headers(answer: Answer) -> dict[str, str]:
    """Return the headers that tell how a photo was filled."""
    timing = ", ".join(f"{phase};dur={1000 * seconds:.1f}" for phase, seconds in answer.seconds.items())
    return {
        "X-WavePaint-Engine": answer.engine,
        "X-WavePaint-Precision": answer.precision,
        "X-WavePaint-Hole": f"{answer.hole:.6f}",
        "Server-Timing": timing,
    }


def read_fill(body: bytes, content_type: str, max_pixels: int) -> Order:
    """Make an order from the form of ``POST /v1/fill``.

    Raises:
        RequestError: The form is wrong.
    """
    form = parse_form(body, content_type)
    image, mask = form.take_file("image"), form.take_file("mask")
    texts = form.take_texts()
    suffix = choose_suffix(texts.pop("format")) if "format" in texts else None
    options = take_options(texts)
    refuse_unknown(texts, ("image", "mask", "format", *OPTIONS))
    return make_order(image, mask, options, suffix, max_pixels)


async def answer_fill(request: Request) -> Response:
    """Answer with the filled photo's file."""
    state = request.app.state
    answer = await state.filler.fill(request, lambda body, kind: read_fill(body, kind, state.settings.max_pixels))
    return Response(answer.data, media_type=answer.media_type, headers=make_headers(answer))
