"""The files of the page, and single files for it: a photo and a model."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.service.request_errors import RequestError
from wavepaint.runtime.service.static_page import INDEX, MODEL_MISSING, MODEL_NAME, PAGE_FOLDER

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
}
"""Media types by suffix. Those that the system knows differ from machine to machine."""


@dataclass(frozen=True)
class PaintPhoto:
    """The photo with which the page opens.

    Attributes:
        data: The photo's file.
        name: Its name, without folders.
        media_type: Its media type.
    """

    data: bytes
    name: str
    media_type: str


def read_paint_photo(path: Path) -> PaintPhoto:
    """Read the photo with which the page opens.

    Raises:
        ImageError: It is no photo, or none that can be filled.
    """
    kind = read_photo(path).format or ""
    return PaintPhoto(path.read_bytes(), path.name, Image.MIME.get(kind, "application/octet-stream"))


@cache
def list_page_files() -> dict[str, Path]:
    """Return the files of the page by their paths below its folder. Nothing else is ever served."""
    return {
        path.relative_to(PAGE_FOLDER).as_posix(): path
        for path in sorted(PAGE_FOLDER.rglob("*"))
        if path.is_file() and path.suffix in _MEDIA_TYPES
    }


async def answer_page(request: Request) -> Response:
    """Answer with a file of the page; with its first one for ``/``."""
    path = list_page_files().get(request.path_params.get("path", INDEX))
    if path is None:
        raise RequestError(404, "the page has no such file.", "not_found")
    return await _send_file(request, path)


async def answer_model(request: Request) -> Response:
    """Answer with the model that browsers run."""
    bundle = request.app.state.bundle
    if MODEL_NAME not in bundle.manifest.files:
        raise RequestError(404, f"this bundle {MODEL_MISSING}", "model_not_found")
    return await _send_file(request, bundle.folder / MODEL_NAME)


async def answer_photo(request: Request) -> Response:
    """Answer with the photo that the page opens."""
    photo: PaintPhoto | None = request.app.state.photo
    if photo is None:
        raise RequestError(404, "the service was started without a photo.", "not_found")
    headers = {"Content-Disposition": f"inline; filename*=UTF-8''{quote(photo.name, safe='')}"}
    return Response(photo.data, media_type=photo.media_type, headers=headers)


async def answer_alive(request: Request) -> Response:
    """Answer with a stream that ends with the page or the service."""
    await request.body()  # the stream waits for the client to leave, and must not find a body instead
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    return StreamingResponse(request.app.state.presence.stream(), media_type="text/event-stream")


async def _send_file(request: Request, path: Path) -> Response:
    """Return a file, or 304 to a browser that has it."""
    data, tag = await run_in_threadpool(_read, path)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = [word.strip().removeprefix("W/") for word in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=_MEDIA_TYPES[path.suffix], headers=headers)


def _read(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'
