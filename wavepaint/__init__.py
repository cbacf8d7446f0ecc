"""WavePaint: train the WavePaint inpainting network, export it, and run it on the fastest verified engine.

The public names are loaded on first use: importing this package imports neither torch nor numpy.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wavepaint.runtime.inpainter import Inpainter

__all__ = ["Inpainter", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Inpainter":
        from wavepaint.runtime.inpainter import Inpainter

        return Inpainter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
