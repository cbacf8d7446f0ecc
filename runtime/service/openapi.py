"""The description of the API, in the format of OpenAPI 3.1."""

from functools import cache
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from wavepaint import __version__
from wavepaint.runtime.filling.morphology import MAX_GROWTH
from wavepaint.runtime.filling.strategy import STRATEGIES
from wavepaint.runtime.images.read import MaskFrom
from wavepaint.runtime.service.fields import OPTIONS
from wavepaint.runtime.service.result_formats import FORMATS

Schema = dict[str, Any]

_OPTION_NOTES: dict[str, Schema] = {
    "invert_mask": {"description": "Fill the black part of the mask instead of the white part."},
    "mask_threshold": {"description": "Lowest brightness that counts as white.", "minimum": 1, "maximum": 255},
    "mask_from": {"description": "What marks the hole; alpha: transparent pixels.", "enum": list(get_args(MaskFrom))},
    "resize_mask": {"description": "Scale a mask of another size to the image."},
    "dilate": {"description": "Pixels by which the hole grows.", "minimum": 0, "maximum": MAX_GROWTH},
    "feather": {"description": "Width of the transition, in pixels.", "minimum": 0, "maximum": MAX_GROWTH},
    "strategy": {"description": "How large photos are cut up.", "enum": list(STRATEGIES)},
}

_TYPES = {bool: "boolean", int: "integer", str: "string"}

_ERRORS = {
    "400": "A field is missing, wrong or unknown, or a file is no image.",
    "401": "The token is missing or wrong.",
    "403": "The request comes from a page of another origin.",
    "408": "The body arrived too slowly.",
    "413": "The body or an image is too large.",
    "415": "The body has another type.",
    "503": "The service is full; Retry-After says when to try again.",
    "504": "The photo was not filled in time.",
}

_FILE = {"type": "string", "format": "binary"}


@cache
def describe_api() -> Schema:
    """Return the description."""
    options = {
        name: {"type": _TYPES[type(option.default)], "default": option.default, **_OPTION_NOTES[name]}
        for name, option in OPTIONS.items()
    }
    fill = {"image": _FILE, "mask": _FILE, "format": {"type": "string", "enum": list(FORMATS)}, **options}
    edit = {
        "image": {"oneOf": [_FILE, {"type": "array", "items": _FILE, "maxItems": 1}]},
        "mask": {**_FILE, "description": "Transparent pixels are the hole. Without a mask, those of the image."},
        "prompt": {"type": "string", "description": "Ignored."},
        "model": {"type": "string"},
        "output_format": {"type": "string", "enum": ["png", "jpeg", "webp"]},
        **options,
    }
    base64 = {"type": "string", "description": "A file in base64 or as a data URL."}
    inpaint = {"image": base64, "mask": {**base64, "description": "White marks the hole."}, **options}
    picture = {"image/*": {"schema": _FILE}}
    edited = {"application/json": {"schema": {"$ref": "#/components/schemas/Images"}}}
    form, json = "multipart/form-data", "application/json"
    return {
        "openapi": "3.1.0",
        "info": {"title": "WavePaint", "version": __version__, "summary": "Fill the holes of photos."},
        "paths": {
            "/v1/fill": {"post": _describe_post("Fill the hole of a photo.", form, fill, ["image"], picture)},
            "/v1/images/edits": {"post": _describe_post("OpenAI's request.", form, edit, ["image"], edited)},
            "/api/v1/inpaint": {
                "post": _describe_post("IOPaint's request.", json, inpaint, ["image", "mask"], picture)
            },
            "/v1/models": _describe_get("List the model.", json),
            "/v1/model.onnx": _describe_get("The model that browsers run.", "application/octet-stream"),
            "/v1/openapi.json": _describe_get("This description.", json),
            "/healthz": _describe_get("Whether the process lives.", json),
            "/readyz": _describe_get("Whether photos are filled now.", json),
            "/metrics": _describe_get("Metrics in Prometheus's format.", "text/plain"),
        },
        "components": {
            "schemas": {"Error": _describe_error(), "Images": _describe_images()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _describe_post(summary: str, kind: str, fields: Schema, required: list[str], content: Schema) -> Schema:
    schema = {"type": "object", "properties": fields, "required": required}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refused = {status: {"description": text, "content": error} for status, text in _ERRORS.items()}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {kind: {"schema": schema}}},
        "responses": {"200": {"description": "The filled photo.", "content": content}, **refused},
    }


def _describe_get(summary: str, media_type: str) -> Schema:
    return {"get": {"summary": summary, "responses": {"200": {"description": summary, "content": {media_type: {}}}}}}


def _describe_error() -> Schema:
    text, optional = {"type": "string"}, {"type": ["string", "null"]}
    error = {"message": text, "type": text, "param": optional, "code": text}
    return {"type": "object", "properties": {"error": {"type": "object", "properties": error}}}


def _describe_images() -> Schema:
    image = {"type": "object", "properties": {"b64_json": {"type": "string"}}}
    fields = {
        "created": {"type": "integer"},
        "data": {"type": "array", "items": image},
        "output_format": {"type": "string"},
        "size": {"type": "string"},
    }
    return {"type": "object", "properties": fields}


async def answer_description(request: Request) -> Response:
    """Answer with the description."""
    return JSONResponse(describe_api())
