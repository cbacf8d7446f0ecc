"""Describe this machine, and check which engines work on it and why the others do not."""

import importlib.metadata
import os
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wavepaint.contract import Bundle
from wavepaint.errors import WavePaintError
from wavepaint.machine import describe_machine
from wavepaint.runtime.engines.engine import EngineName, ExecutionConfig
from wavepaint.runtime.engines.gpus import find_driver_version, find_gpus
from wavepaint.runtime.engines.ort import describe_conflict, find_packages
from wavepaint.runtime.engines.registry import get_engine, list_fastest, open_execution
from wavepaint.runtime.engines.session import Tensor, make_batch
from wavepaint.runtime.sizes import pad_side

_FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8",
    "asimd", "bf16", "i8mm",
)  # fmt: skip
"""Linux's names of the instruction sets that make networks fast, on x86-64 and Arm."""

_PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx-cu13", "cuda-bindings", "pycuda", "torch",
    "onnx",
)  # fmt: skip

SIDE = 256


@dataclass(frozen=True, kw_only=True)
class EngineCheck:
    """The result of a forward pass at 256x256 pixels.

    Attributes:
        engine: Name for ``--engine``.
        precision: Arithmetic precision.
        label: Engine, version and device; empty if it does not work.
        latency_ms: Duration of the second run; None if it failed.
        problem: Why it does not work, and the fix; empty if it works.
    """

    engine: EngineName
    precision: str
    label: str = ""
    latency_ms: float | None = None
    problem: str = ""


def describe_system() -> dict[str, Any]:
    """Return the processor and its features, memory, GPUs, driver and package versions, as plain values."""
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
    """Return the problems that concern the whole installation, each with its fix."""
    conflict = describe_conflict(find_packages())
    return [conflict] if conflict else []


def check_engines(bundle: Bundle, *, threads: int | None = None) -> list[EngineCheck]:
    """Run the bundle once in every engine and precision. A failure does not stop the others.

    No plan is built, because that can take minutes. An engine that needs one counts as not working.
    """
    side = pad_side(SIDE, bundle.manifest.size_multiple)
    image, mask = make_batch(1, side, side)
    checks: list[EngineCheck] = []
    for execution in list_fastest(bundle):
        check = _check(execution, image, mask, threads)
        # One line is enough for all precisions of an engine with the same problem.
        if not check.problem or (check.engine, check.problem) not in [(one.engine, one.problem) for one in checks]:
            checks.append(check)
    return checks


def _check(execution: ExecutionConfig, image: Tensor, mask: Tensor, threads: int | None) -> EngineCheck:
    check = EngineCheck(engine=execution.engine, precision=execution.arithmetic)
    obstacle = get_engine(execution.engine).find_obstacle()
    if obstacle:
        return replace(check, problem=obstacle)
    try:
        with open_execution(execution, threads=threads, plan_policy="cached") as session:
            session.run(image, mask)
            started = time.perf_counter()
            session.run(image, mask)
            return replace(check, label=session.engine, latency_ms=(time.perf_counter() - started) * 1e3)
    except WavePaintError as error:
        return replace(check, problem=str(error))
