"""OpenCV's classical inpainting methods, which have no weights: Telea's fast marching and the Navier-Stokes method.

They ignore engines and precisions. They fill 8-bit photos one after another on one core, in a time that grows with the
hole.

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
"""Radius of the neighbourhood in pixels, as in OpenCV's examples."""

METHODS = {"telea": "INPAINT_TELEA", "navier-stokes": "INPAINT_NS"}
"""OpenCV's flag by name."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Classical:
    """An OpenCV method; ``name`` is one of :data:`METHODS`."""

    name: str

    def open(self) -> tuple[Callable[[Pixels, Pixels], Pixels], str]:
        """Return a function that fills a batch, and a label with OpenCV's version.

        The function takes images (N, H, W, 3) and masks (N, H, W, 1), both uint8 with every nonzero mask value a hole,
        and returns the images with known pixels unchanged. It raises EngineError if OpenCV fails.

        Raises:
            EngineError: OpenCV is not installed.
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
