"""What this machine has, which engines work on it, and what is missing for the others."""

import importlib.metadata
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavepaint.contract import Bundle
from wavepaint.errors import WavePaintError
from wavepaint.machine import describe_machine
from wavepaint.runtime.engines.gpus import find_driver_version, find_gpus
from wavepaint.runtime.engines.ort import find_packages
from wavepaint.runtime.engines.registry import EngineName, list_fastest, open_execution
from wavepaint.runtime.engines.session import make_batch

_FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8",
    "asimd", "bf16", "i8mm",
)  # fmt: skip
"""What makes networks fast on a processor, x86-64 and Arm, as Linux names it."""

_PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx-cu13", "cuda-bindings", "pycuda", "torch",
    "onnx",
)  # fmt: skip

SIDE = 256


@dataclass(frozen=True, kw_only=True)
class EngineCheck:
    """What became of a forward pass of 256x256 pixels.

    Attributes:
        engine: Its name for ``--engine``.
        precision: Of the arithmetic; empty where nothing could be opened.
        label: Engine, version and device.
        latency_ms: Of one run after a first one; None if it failed.
        problem: Why it does not work and what mends it.
    """

    engine: EngineName
    precision: str
    label: str = ""
    latency_ms: float | None = None
    problem: str = ""


def describe_system() -> dict[str, Any]:
    """Return processor, its features, memory, GPUs, driver and package versions, as plain values."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        **describe_machine(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "features": _cpu_features(),
        "memory_mb": _memory_mb(),
        "gpus": [vars(gpu) for gpu in find_gpus()],
        "cuda_driver": find_driver_version(),
        "packages": versions,
    }


def _cpu_features() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [feature for feature in _FEATURES if feature in flags]


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (AttributeError, OSError, ValueError):
        return None


def find_conflicts() -> list[str]:
    """Return what is wrong with the installation as a whole, each with the command that mends it."""
    twins = find_packages()
    if len(twins) < 2:
        return []
    extra = "gpu" if "onnxruntime-gpu" in twins else "cpu"
    return [
        f"{' and '.join(twins)} are both installed and overwrite each other's files. Mend it with: pip uninstall -y "
        f'{" ".join(twins)} && pip install "wavepaint[{extra}]"'
    ]


def check_engines(bundle: Bundle, *, threads: int | None = None) -> list[EngineCheck]:
    """Run the bundle once in every engine and precision; nothing that fails stops the others.

    No plan is built, which can take minutes: where none fits, that is the problem that is told.
    """
    multiple = bundle.manifest.size_multiple
    side = -(-SIDE // multiple) * multiple
    image, mask = make_batch(1, side, side)
    checks: list[EngineCheck] = []
    for execution in list_fastest(bundle):
        try:
            with open_execution(
                execution, bundle.locate(execution.artifact), multiple, threads=threads, plan_policy="cached"
            ) as session:
                session.run(image, mask)
                started = time.perf_counter()
                session.run(image, mask)
                latency_ms = (time.perf_counter() - started) * 1e3
                found = EngineCheck(
                    engine=execution.engine, precision=execution.arithmetic, label=session.engine, latency_ms=latency_ms
                )
        except WavePaintError as error:
            found = EngineCheck(engine=execution.engine, precision=execution.arithmetic, problem=str(error))
        # One reason is enough for all precisions of an engine.
        if not found.problem or (found.engine, found.problem) not in [(c.engine, c.problem) for c in checks]:
            checks.append(found)
    return checks
