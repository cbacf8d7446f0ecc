"""What the service tells about itself: models, health, metrics, its description."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from wavepaint.runtime.service.metrics import MEDIA_TYPE
from wavepaint.runtime.service.request_errors import RequestError
from wavepaint.runtime.service.static_page import describe_model


async def answer_models(request: Request) -> Response:
    """List the one model, as OpenAI does."""
    inpainter = request.app.state.inpainter
    model = {
        **describe_model(inpainter.bundle.manifest),
        "object": "model",
        "created": 0,
        "owned_by": "wavepaint",
        "engine": inpainter.engine.removesuffix(f" {inpainter.precision}"),
        "precision": inpainter.precision,
    }
    return JSONResponse({"object": "list", "data": [model]})


async def answer_health(request: Request) -> Response:
    """Answer that the process lives."""
    return JSONResponse({"status": "ok"})


async def answer_readiness(request: Request) -> Response:
    """Answer whether a photo would be filled now."""
    if not request.app.state.is_ready or not request.app.state.queue.is_working:
        raise RequestError(503, "the model is not ready.", "not_ready")
    return JSONResponse({"status": "ready"})


async def answer_metrics(request: Request) -> Response:
    """Answer with the metrics."""
    return Response(request.app.state.metrics.expose(), media_type=MEDIA_TYPE)
