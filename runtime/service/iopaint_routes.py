"""``POST /api/v1/inpaint``: IOPaint's request (github.com/Sanster/IOPaint, iopaint/schema.py)."""

import binascii
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from wavepaint.runtime.service.fields import OPTIONS, make_options
from wavepaint.runtime.service.fill_routes import make_headers
from wavepaint.runtime.service.orders import Order, make_order
from wavepaint.runtime.service.request_errors import RequestError, refuse_value

_UNABLE = ("use_croper", "use_extender", "enable_controlnet", "enable_brushnet", "enable_powerpaint_v2")
"""Fields that ask for what only IOPaint's other models do. All fields that tune those models are ignored."""


async def answer_inpaint(request: Request) -> Response:
    """Answer with the filled photo's file."""
    state = request.app.state
    answer = await state.filler.fill(request, lambda body, kind: read_inpaint(body, state.settings.max_pixels))
    return Response(answer.data, media_type=answer.media_type, headers=make_headers(answer))


def read_inpaint(body: bytes, max_pixels: int) -> Order:
    """Make an order from IOPaint's JSON. White marks the hole; fill options may be added under their names.

    Raises:
        RequestError: The JSON is wrong, or asks for what this model cannot do.
    """
    try:
        content: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RequestError(
            400, "the body is not JSON: expected an object with image and mask, both in base64.", "invalid_json"
        ) from None
    for name in _UNABLE:
        if content.get(name):
            raise refuse_value(name, "true", "false, because this model only fills holes")
    image, mask = (_decode(content, name) for name in ("image", "mask"))
    options = make_options({name: content[name] for name in OPTIONS if content.get(name) is not None})
    return make_order(image, mask, options, None, max_pixels)


def _decode(content: dict[str, Any], name: str) -> bytes | None:
    """Return a file in base64, which may be a data URL."""
    text = content.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise refuse_value(name, f"a JSON {_name_type(text)}", "a file in base64, as a string")
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return binascii.a2b_base64("".join(data.split()).encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise refuse_value(name, "not base64", "a file in base64") from None


def _name_type(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", list: "array"}
    return names.get(type(value), "object")
