"""The application: all routes around one model."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.service.bodies import BodyStore
from wavepaint.runtime.service.fill_queue import FillQueue
from wavepaint.runtime.service.fill_routes import Filler, answer_fill
from wavepaint.runtime.service.gate import Gate
from wavepaint.runtime.service.iopaint_routes import answer_inpaint
from wavepaint.runtime.service.metrics import Metrics
from wavepaint.runtime.service.openai_routes import answer_edit
from wavepaint.runtime.service.openapi import answer_description
from wavepaint.runtime.service.page_files import PaintPhoto, answer_alive, answer_model, answer_page, answer_photo
from wavepaint.runtime.service.presence import Presence
from wavepaint.runtime.service.request_errors import RequestError
from wavepaint.runtime.service.service_settings import ServiceSettings
from wavepaint.runtime.service.status_routes import answer_health, answer_metrics, answer_models, answer_readiness

_ROUTES = (
    Route("/v1/fill", answer_fill, methods=["POST"]),
    Route("/v1/images/edits", answer_edit, methods=["POST"]),
    Route("/api/v1/inpaint", answer_inpaint, methods=["POST"]),
    Route("/v1/models", answer_models),
    Route("/v1/model.onnx", answer_model),
    Route("/v1/openapi.json", answer_description),
    Route("/v1/photo", answer_photo),
    Route("/v1/alive", answer_alive),
    Route("/healthz", answer_health),
    Route("/readyz", answer_readiness),
    Route("/metrics", answer_metrics),
    Route("/", answer_page),
    Route("/page/{path:path}", answer_page),
)


def make_app(
    inpainters: Inpainter | Sequence[Inpainter],
    settings: ServiceSettings | None = None,
    *,
    photo: PaintPhoto | None = None,
    on_leave: Callable[[], object] | None = None,
) -> Starlette:
    """Return an ASGI application that fills photos.

    Args:
        inpainters: The model, which fills as many photos at once as it has streams; or one model for each thread, all
            of the same bundle. They are not closed.
        settings: Access rules and limits; None for the defaults.
        photo: The photo with which the page opens.
        on_leave: Called in the event loop a few seconds after the last page was closed.
    """
    settings = settings or ServiceSettings()
    models = [inpainters] * inpainters.streams if isinstance(inpainters, Inpainter) else list(inpainters)
    metrics = Metrics()
    queue = FillQueue(models, settings, metrics)

    @asynccontextmanager
    async def run(app: Starlette) -> AsyncIterator[None]:
        Image.init()
        queue.open()
        app.state.presence = Presence(on_leave)
        app.state.is_ready = True
        try:
            yield
        finally:
            app.state.is_ready = False
            queue.close()

    gate = Middleware(Gate, settings=settings, metrics=metrics, paths={route.path for route in _ROUTES})
    app = Starlette(
        routes=_ROUTES,
        middleware=[gate],
        exception_handlers={HTTPException: _answer_http_error, RequestError: _answer_refusal},
        lifespan=run,
    )
    app.router.redirect_slashes = False
    app.state.is_ready = False
    app.state.settings, app.state.metrics, app.state.queue, app.state.photo = settings, metrics, queue, photo
    app.state.inpainter, app.state.bundle = models[0], models[0].bundle
    app.state.filler = Filler(queue, BodyStore(settings.max_body_bytes))
    return app


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.to_response()


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Answer what Starlette refuses: paths without a route, and methods that a route does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"the method {request.method[:10]} is not allowed here: expected {allowed}."
        return RequestError(405, message, "method_not_allowed", headers=error.headers).to_response()
    message = "there is nothing under this path: /v1/openapi.json lists what there is."
    return RequestError(error.status_code, message, "not_found").to_response()
