"""The roofs of the device: half-precision matrix products, a chain of convolutions, and copies. The best of some runs.

On the CPU the same code runs with small sizes in float32, for a dry run.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

MATRIX_SIDE = 8192
CHAIN_CHANNELS, CHAIN_LAYERS, CHAIN_SIDE, CHAIN_BATCH = 128, 8, 128, 64
COPY_BYTES, HOST_COPY_BYTES = 1 << 31, 1 << 28
RUNS, RUNS_A_CLOCK = 8, 8

_SMALL = 32
"""By how much everything is smaller in a dry run."""


def measure_ceiling(name: str, device: str) -> dict[str, Any]:
    """Measure one ceiling.

    Args:
        name: "matrix" and "convolution" (thousand million multiply-accumulates a second), or "copy" (GB a second, read
            and written together on the device, one way between host and device).
        device: "cuda" or "cpu".
    """
    with torch.inference_mode():
        return {"matrix": _matrix, "convolution": _convolution, "copy": _copy}[name](device)


def _kind(device: str) -> torch.dtype:
    return torch.float16 if device == "cuda" else torch.float32


def _matrix(device: str) -> dict[str, Any]:
    side = MATRIX_SIDE if device == "cuda" else MATRIX_SIDE // _SMALL
    a, b = (torch.randn(side, side, device=device).to(_kind(device)) for _ in range(2))
    output = torch.empty_like(a)
    seconds = best_seconds(lambda: torch.matmul(a, b, out=output), device)
    return {"gmac_per_s": side**3 / 1e9 / seconds, "what": f"matrix product {side}x{side}", "dtype": str(a.dtype)}


def _convolution(device: str) -> dict[str, Any]:
    batch, side = (CHAIN_BATCH, CHAIN_SIDE) if device == "cuda" else (1, CHAIN_SIDE // 4)
    dtype, layout = _kind(device), torch.channels_last
    weight = torch.randn(CHAIN_CHANNELS, CHAIN_CHANNELS, 3, 3, device=device) / (9 * CHAIN_CHANNELS) ** 0.5
    weight = weight.to(dtype).to(memory_format=layout)
    image = torch.randn(batch, CHAIN_CHANNELS, side, side, device=device).to(dtype).to(memory_format=layout)

    def run() -> None:
        x = image
        for _ in range(CHAIN_LAYERS):
            x = F.conv2d(x, weight, padding=1)

    gmac = batch * side * side * CHAIN_LAYERS * CHAIN_CHANNELS**2 * 9 / 1e9
    what = f"{CHAIN_LAYERS} 3x3 convolutions, {CHAIN_CHANNELS} channels, {side}x{side}, batch {batch}, channels-last"
    return {"gmac_per_s": gmac / best_seconds(run, device), "what": what, "dtype": str(dtype)}


def _copy(device: str) -> dict[str, Any]:
    shrink = 1 if device == "cuda" else _SMALL
    source = torch.zeros(COPY_BYTES // shrink, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    told = {"gb_per_s": 2 * source.numel() / 1e9 / best_seconds(lambda: target.copy_(source), device)}
    if device == "cuda":
        pinned = torch.zeros(HOST_COPY_BYTES, dtype=torch.uint8).pin_memory()
        near = torch.empty_like(pinned, device=device)
        told["to_device_gb_per_s"] = (
            HOST_COPY_BYTES / 1e9 / best_seconds(lambda: near.copy_(pinned, non_blocking=True), device)
        )
        told["to_host_gb_per_s"] = (
            HOST_COPY_BYTES / 1e9 / best_seconds(lambda: pinned.copy_(near, non_blocking=True), device)
        )
    return {**told, "what": f"copy of {source.numel() >> 20} MiB on the device"}


def new_event() -> Any:
    """Return a CUDA event that tells the time."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def best_seconds(run: Callable[[], object], device: str) -> float:
    """Return the shortest time of a run, on a GPU between two events around several: a roof is what can be reached."""
    for _ in range(3):
        run()
    best = float("inf")
    for _ in range(RUNS):
        if device == "cuda":
            start, end = new_event(), new_event()
            start.record()
            for _ in range(RUNS_A_CLOCK):
                run()
            end.record()
            end.synchronize()
            best = min(best, float(start.elapsed_time(end)) / 1e3 / RUNS_A_CLOCK)
        else:
            started = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - started)
    return best
