"""``POST /v1/images/edits``: OpenAI's request (platform.openai.com/docs/api-reference/images/createEdit)."""

import base64
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from wavepaint.runtime.service.fields import OPTIONS, refuse_unknown, take_options
from wavepaint.runtime.service.fill_routes import make_headers
from wavepaint.runtime.service.forms import Form, parse_form
from wavepaint.runtime.service.orders import Order, make_order
from wavepaint.runtime.service.request_errors import RequestError, refuse_value, shorten
from wavepaint.runtime.service.result_formats import choose_suffix

_IGNORED = ("prompt", "quality", "user", "input_fidelity", "moderation")
"""Fields that say what to paint or how carefully, which this model cannot be told."""

_FIXED = {
    "n": ("1",),
    "response_format": ("b64_json",),
    "stream": ("false",),
    "partial_images": ("0",),
    "background": ("auto", "opaque"),
    "output_compression": ("100",),
}
"""Fields that have only these values here."""

_FORMATS = ("png", "jpeg", "webp")


async def answer_edit(request: Request) -> Response:
    """Answer with the filled photo in base64."""
    state = request.app.state
    model = state.bundle.manifest.name

    def read(body: bytes, content_type: str) -> Order:
        return read_edit(body, content_type, model, state.settings.max_pixels)

    answer = await state.filler.fill(request, read)
    width, height = answer.size
    content = {
        "created": int(time.time()),
        "data": [{"b64_json": base64.b64encode(answer.data).decode()}],
        "output_format": answer.media_type.removeprefix("image/"),
        "size": f"{width}x{height}",
    }
    return JSONResponse(content, headers=make_headers(answer))


def read_edit(body: bytes, content_type: str, model: str, max_pixels: int) -> Order:
    """Make an order from the form of OpenAI's request. Transparent pixels are the hole.

    Raises:
        RequestError: The form is wrong, or asks for what this model cannot do.
    """
    form = parse_form(body, content_type)
    image, mask = _take_image(form), form.take_file("mask")
    texts = form.take_texts()
    for name in _IGNORED:
        texts.pop(name, None)
    for name, allowed in _FIXED.items():
        value = texts.pop(name, allowed[0])
        if value.lower() not in allowed:
            raise refuse_value(name, repr(shorten(value)), " or ".join(allowed))
    wanted = texts.pop("model", model)
    if wanted != model:
        raise RequestError(
            404,
            f"the model {shorten(wanted)} does not exist: expected {model}, which GET /v1/models lists.",
            "model_not_found",
            param="model",
        )
    size = texts.pop("size", "auto")
    name = texts.pop("output_format", "png")
    if name not in _FORMATS:
        raise refuse_value("output_format", repr(shorten(name)), ", ".join(_FORMATS))
    texts.setdefault("mask_from", "alpha")
    options = take_options(texts)
    refuse_unknown(texts, ("image", "mask", *_IGNORED, *_FIXED, "model", "size", "output_format", *OPTIONS))
    order = make_order(image, mask, options, choose_suffix(name), max_pixels)
    if order.size is not None and size not in ("auto", *_name_sizes(*order.size)):
        own = _name_sizes(*order.size)[0]
        raise refuse_value("size", repr(shorten(size)), f"auto or {own}, the size of the image")
    return order


def _take_image(form: Form) -> bytes | None:
    """Return the image, which clients send as one file or as a list."""
    images = form.take_files("image", "image[]")
    if len(images) > 1:
        raise refuse_value("image", f"a list of {len(images)} images", "one")
    return images[0] if images else None


def _name_sizes(width: int, height: int) -> tuple[str, str]:
    """Return the sizes of a photo, which its EXIF may turn."""
    return f"{width}x{height}", f"{height}x{width}"
