"""Slower classical methods, for comparisons of quality: OpenCV's xphoto module and PatchMatch.

They are not part of an extra. ``opencv-contrib-python-headless`` has xphoto and replaces ``opencv-python-headless``,
whose files it would overwrite; ``PyPatchMatch`` can be installed beside anything. All give the same fill in every run.

Sources: N. Genser et al., "Spectral Constrained Frequency Selective Extrapolation for Rapid Image Error Concealment"
(2018) (FSR); K. He and J. Sun, "Statistics of Patch Offsets for Image Completion" (2012) (shift map); C. Barnes et al.,
"PatchMatch: A Randomized Correspondence Algorithm for Structural Image Editing" (2009).
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from wavepaint.bench.classical import Pixels
from wavepaint.errors import EngineError

XPHOTO = {"shift-map": "INPAINT_SHIFTMAP", "fsr-fast": "INPAINT_FSR_FAST", "fsr-best": "INPAINT_FSR_BEST"}
"""OpenCV's flag by name."""
PATCHMATCH = "patchmatch"
NAMES = (PATCHMATCH, *XPHOTO)

PATCH_RADIUS = 3
"""Pixels, as in the package's examples."""


def open_exemplar(name: str) -> Callable[[Pixels, Pixels], Pixels]:
    """Return a function that fills one image (H, W, 3) whose mask (H, W) is nonzero in the hole.

    Args:
        name: One of :data:`NAMES`.

    Raises:
        EngineError: Its package is not installed.
    """
    fill = _open_patchmatch() if name == PATCHMATCH else _open_xphoto(name)

    def fill_and_keep_known(image: Pixels, mask: Pixels) -> Pixels:
        return np.where(mask[..., None] != 0, fill(image, mask), image)

    return fill_and_keep_known


def _open_patchmatch() -> Callable[[Pixels, Pixels], Pixels]:
    try:
        patchmatch: Any = importlib.import_module("patchmatch")
    except ImportError as error:
        raise EngineError("patchmatch is not installed: pip install PyPatchMatch") from error

    def fill(image: Pixels, mask: Pixels) -> Pixels:
        patchmatch.set_random_seed(0)
        return np.asarray(patchmatch.inpaint(image, mask != 0, patch_size=PATCH_RADIUS), np.uint8)

    return fill


def _open_xphoto(name: str) -> Callable[[Pixels, Pixels], Pixels]:
    try:
        cv2: Any = importlib.import_module("cv2")
        xphoto = cv2.xphoto
    except (ImportError, AttributeError) as error:
        raise EngineError(
            f"{name} needs OpenCV's xphoto module: pip uninstall opencv-python-headless, then pip install "
            "opencv-contrib-python-headless"
        ) from error
    flag = getattr(xphoto, XPHOTO[name])
    in_lab = name == "shift-map"  # OpenCV's documentation asks for CIELab there.

    def fill(image: Pixels, mask: Pixels) -> Pixels:
        source: Any = cv2.cvtColor(image, cv2.COLOR_RGB2Lab) if in_lab else image
        filled = np.zeros_like(source)
        xphoto.inpaint(source, np.where(mask != 0, 0, 255).astype(np.uint8), filled, flag)
        return np.asarray(cv2.cvtColor(filled, cv2.COLOR_Lab2RGB) if in_lab else filled, np.uint8)

    return fill
