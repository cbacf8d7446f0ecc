"""OpenCV's classical inpainting, which has no weights: Telea's fast marching and the Navier-Stokes method.

Neither knows engines, precisions or batches: photos of 8 bits are filled one after another on one core, in a time that
grows with the hole.

Sources: A. Telea, "An Image Inpainting Technique Based on the Fast Marching Method" (2004); M. Bertalmio et al.,
"Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting" (2001).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.errors import EngineError
from wavepaint.optional import require

OPENCV = "opencv"
RADIUS = 3
"""Pixels around each that are looked at, as OpenCV's examples have it."""

METHODS = {"telea": "INPAINT_TELEA", "navier-stokes": "INPAINT_NS"}
"""OpenCV's flag by name."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Classical:
    """A method of OpenCV that races beside the models; ``name`` is one of :data:`METHODS`."""

    name: str

    def open(self) -> tuple[Callable[[Pixels, Pixels], Pixels], str]:
        """Return what fills a batch, and a label with OpenCV's version.

        It takes images (N, H, W, 3) and masks (N, H, W, 1), both uint8, whatever is not 0 being hole, and returns
        images; known pixels are the images' own.

        Raises:
            EngineError: OpenCV is not installed, or, of the returned function, it failed.
        """
        cv2: Any = require("cv2", extra=OPENCV)
        flag = getattr(cv2, METHODS[self.name])

        def fill(image: Pixels, mask: Pixels) -> Pixels:
            try:
                return np.stack([cv2.inpaint(*pair, RADIUS, flag) for pair in zip(image, mask, strict=True)])
            except cv2.error as error:
                raise EngineError(
                    f"OpenCV {cv2.__version__} failed on a batch of shape {image.shape}: {error}"
                ) from error

        return fill, f"OpenCV {cv2.__version__} CPU, radius {RADIUS}"
