"""An HTTP service on a Ray cluster: one model for each replica, and status 503 when all are busy. In this folder, with
WavePaint, ray[serve] and python-multipart on every node::

    serve run ray_serve:app
    curl -F image=@portrait.jpg -F mask=@portrait_mask.png localhost:8000 -o filled.png
"""

import asyncio
import io

from ray import serve
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wavepaint import Inpainter
from wavepaint.errors import ImageError


@serve.deployment(num_replicas=2, max_ongoing_requests=2, max_queued_requests=16, ray_actor_options={"num_cpus": 1})
class Fill:
    def __init__(self, bundle: str | None = None) -> None:
        self.inpainter = Inpainter(bundle, threads=1)

    async def __call__(self, request: Request) -> Response:
        async with request.form() as form:
            files = [file for name in ("image", "mask") if isinstance(file := form.get(name), UploadFile)]
            contents = [await file.read() for file in files]
        if len(contents) < 2:
            return PlainTextResponse("Send two files, image and mask, as multipart/form-data.", 400)
        try:
            filled = await asyncio.to_thread(self.inpainter.fill, *contents)
        except ImageError as error:
            return PlainTextResponse(str(error), 400)
        filled.save(png := io.BytesIO(), "PNG")
        return Response(png.getvalue(), media_type="image/png")


app = Fill.bind()
