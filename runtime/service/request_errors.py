"""Why a request is refused, as JSON in the shape of OpenAI's errors."""

import logging
import re
from collections.abc import Mapping

from starlette.responses import JSONResponse
from wavepaint.errors import ConfigError, EngineMemoryError, ImageError, OutputError, WavePaintError

logger = logging.getLogger("wavepaint.service")

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_WORDS = {
    "use a name in .png or .tif": "set format to png or tiff",
    "use a name in .png": "set format to png",
    "Use .png, .jpg, .webp or .tif.": "Set format to png, jpeg, webp or tiff.",
    "Use .png.": "Set format to png.",
}
"""Advice of the library on file names, and what clients of the service do instead."""


class RequestError(Exception):
    """A request that is not answered with a picture.

    Args:
        status: HTTP status.
        message: What was wrong, what was expected, and how to mend it.
        code: A word for programs.
        param: The field at fault.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def to_response(self) -> JSONResponse:
        """Return the answer."""
        kind = _KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status, self.headers)


def refuse_value(name: str, got: str, expected: str, status: int = 400) -> RequestError:
    """Return the refusal of a field's value."""
    return RequestError(status, f"{name} is {got}: expected {expected}.", "invalid_value", param=name)


def shorten(text: str) -> str:
    """Return a client's word for a message: short, and printable ASCII."""
    return ascii(text)[1:-1][:40]


def translate(error: WavePaintError) -> RequestError:
    """Return the refusal for an error of the library, in the words of the API."""
    message = _name_fields(str(error))
    match error:
        case ImageError():
            param = "mask" if re.match(r"the mask\b|the image is \d+x\d+ pixels and the mask\b", message) else "image"
            return RequestError(400, message, f"invalid_{param}", param=param)
        case OutputError():
            return RequestError(400, message, "unsupported_format", param="format")
        case EngineMemoryError():
            return RequestError(413, message, "image_too_large", param="image")
        case ConfigError():
            return RequestError(413, message, "image_too_large", param="image")
    logger.error("fill: %s", message)
    return RequestError(500, "the engine failed. The service's log says why.", "engine_failed")


def translate_option(error: ConfigError) -> RequestError:
    """Return the refusal for a value of a fill option."""
    message = _name_fields(str(error))
    return RequestError(400, message, "invalid_value", param=message.split(" ", 1)[0])


def _name_fields(message: str) -> str:
    """Replace options of the command line by fields, and advice on file names by advice on formats."""
    message = re.sub(r"^result\.\w+", "the result", message)
    for words, other in _WORDS.items():
        message = message.replace(words, other)
    first = message.split(" ", 1)[0].replace("_", "-")
    message = message.replace(f" (--{first})", "")
    return re.sub(r"--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), message)
