"""WavePaint: train the WavePaint inpainting network, export it, and run it on the fastest verified engine.

The public names are imported on first use, so ``import wavepaint`` imports neither torch nor numpy.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wavepaint.runtime.batch import inpaint_many
    from wavepaint.runtime.filling.options import FillOptions
    from wavepaint.runtime.inpainter import Inpainter

__all__ = ["FillOptions", "Inpainter", "__version__", "inpaint_many"]

_HOMES = {
    "FillOptions": "wavepaint.runtime.filling.options",
    "Inpainter": "wavepaint.runtime.inpainter",
    "inpaint_many": "wavepaint.runtime.batch",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
