"""Timing one way of running a model, and describing the machine it ran on."""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.contract import IMAGE_CHANNELS
from wavepaint.runtime.session import count_cores

Array = NDArray[np.float32]
Run = Callable[[Array, Array], object]

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What timing came to.

    Attributes:
        engine: What ran, for people.
        precision: Arithmetic inside.
        height: Of the images, in pixels.
        width: Likewise.
        batch: Images a call.
        num_calls: Timed calls, the warm-up left out.
        p50_ms: Median latency of a call; ``p90_ms`` and ``p99_ms`` likewise.
        images_per_s: ``batch`` over the median latency.
        variation: Standard deviation over mean.
        peak_memory_mb: Largest resident memory of the process while this was timed.
        note: What a reader must know.
    """

    engine: str
    precision: str
    height: int
    width: int
    batch: int
    num_calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    images_per_s: float
    variation: float
    peak_memory_mb: float
    note: str = ""


def _reset_peak_memory() -> None:
    """Forget the process's peak, where the system can (Linux); elsewhere the peak is that of the whole process."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return


def _peak_memory_mb() -> float:
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def make_batch(batch: int, height: int, width: int) -> tuple[Array, Array]:
    """Return a fixed image batch (N, 3, H, W) and mask (N, 1, H, W) with a box hole in the middle."""
    image = np.random.default_rng(0).random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32)
    mask = np.zeros((batch, 1, height, width), dtype=np.float32)
    mask[..., height // 3 : -(-2 * height // 3), width // 3 : -(-2 * width // 3)] = 1
    return image, mask


def measure(
    run: Run,
    *,
    engine: str,
    precision: str,
    height: int,
    width: int,
    batch: int = 1,
    min_seconds: float = 2.0,
    min_calls: int = 10,
    warmup_calls: int = 3,
    note: str = "",
) -> Measurement:
    """Call ``run`` for at least ``min_seconds`` and ``min_calls`` times after a warm-up; summarise the latencies."""
    image, mask = make_batch(batch, height, width)
    _reset_peak_memory()
    for _ in range(warmup_calls):
        run(image, mask)
    latencies_ms: list[float] = []
    finish = time.perf_counter() + min_seconds
    while len(latencies_ms) < min_calls or time.perf_counter() < finish:
        started = time.perf_counter()
        run(image, mask)
        latencies_ms.append((time.perf_counter() - started) * 1e3)
    p50, p90, p99 = (float(p) for p in np.percentile(latencies_ms, (50, 90, 99)))
    return Measurement(
        engine=engine,
        precision=precision,
        height=height,
        width=width,
        batch=batch,
        num_calls=len(latencies_ms),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        images_per_s=batch / p50 * 1e3,
        variation=statistics.pstdev(latencies_ms) / statistics.fmean(latencies_ms),
        peak_memory_mb=_peak_memory_mb(),
        note=note,
    )


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """Return processor, usable cores, system and Python version, as plain values."""
    return {
        "processor": _processor_name(),
        "cores": count_cores(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
