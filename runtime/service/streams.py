"""Open the model once for each stream, so that every core works on a photo of its own."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import Precision
from wavepaint.machine import count_cores
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.filling.memory import AHEAD, BASE_MB
from wavepaint.runtime.inpainter import Inpainter

STREAM_MB = 864
"""Memory for the photo of one stream, in MiB: enough for 40 megapixels of 24 bits in any engine for the CPU."""


def open_streams(
    bundle: Path | None = None,
    *,
    engine: EngineName | Auto = "auto",
    precision: Precision | Auto = "auto",
    streams: int | None = None,
    max_memory_mb: int | None = None,
    max_batch: int | None = None,
) -> list[Inpainter]:
    """Open a model for a service.

    On a CPU each stream has a model and one thread of its own. On two cores a photo took 0.50 CPU seconds in OpenVINO
    and 0.62 in ONNX Runtime, against 0.60 and 1.12 with one stream of two threads, and 20 to 60 % more photos were
    filled at the same time. On a GPU one model is enough; further threads decode and encode meanwhile.

    Args:
        bundle: Folder of a bundle; None for the model that ships with the package.
        engine: See :class:`wavepaint.runtime.inpainter.Inpainter`.
        precision: See there.
        streams: Number of photos that are filled at once on a CPU; None for the number of cores.
        max_memory_mb: Bound on the memory of the process, in MiB; None for :data:`STREAM_MB` for each stream.
        max_batch: See :class:`wavepaint.runtime.inpainter.Inpainter`.

    Returns:
        The model of each thread. Threads may share one.

    Raises:
        WavePaintError: See :class:`wavepaint.runtime.inpainter.Inpainter`.
    """
    num_streams = streams or count_cores()
    stream_mb = STREAM_MB if max_memory_mb is None else max((max_memory_mb - BASE_MB) // num_streams, 1)

    def open_one() -> Inpainter:
        model = Inpainter(
            bundle,
            engine=engine,
            precision=precision,
            threads=1,
            max_memory_mb=BASE_MB + stream_mb,
            max_batch=max_batch,
        )
        model.fill_array(*_make_photo())  # an engine that cannot run is noticed before anybody waits for it
        return model

    first = open_one()
    if first.device != "CPU":
        return [first] * (1 + AHEAD)
    return [first, *(open_one() for _ in range(num_streams - 1))]


def _make_photo() -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a small photo, (64, 64, 3) uint8, and its hole."""
    photo, hole = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.bool_)
    hole[24:40, 24:40] = True
    return photo, hole
