"""Describe this machine, and check which engines work on it and why the others do not."""

import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from wavepaint.contract import Bundle
from wavepaint.errors import WavePaintError
from wavepaint.machine import describe_machine, find_memory_bytes
from wavepaint.runtime.engines.engine import Auto, EngineName, ExecutionConfig
from wavepaint.runtime.engines.gpus import find_driver_version, find_gpus
from wavepaint.runtime.engines.ort import describe_conflict, find_packages
from wavepaint.runtime.engines.registry import get_engine, list_fastest, open_execution, open_session
from wavepaint.runtime.engines.session import Session, make_batch
from wavepaint.runtime.sizes import SizeRange

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

_NO_GPU = "no NVIDIA GPU with a driver was found"


@dataclass(frozen=True, kw_only=True)
class EngineCheck:
    """The result of a forward pass at 256x256 pixels.

    Attributes:
        engine: Name for ``--engine``.
        precision: Arithmetic precision; "float32 on float16 weights" if that of the weights differs.
        label: Engine, version and device; empty if it does not work.
        latency_ms: Duration of the second run; None if it failed.
        problem: Why it does not work, and the fix; empty if it works.
    """

    engine: EngineName | Auto
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
    memory = find_memory_bytes()
    return {
        **describe_machine(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "features": _cpu_features(),
        "memory_mb": memory and memory >> 20,
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


def find_conflicts() -> list[str]:
    """Return the problems that concern the whole installation, each with its fix."""
    conflict = describe_conflict(find_packages())
    return [conflict] if conflict else []


def check_engines(bundle: Bundle, *, threads: int | None = None) -> list[EngineCheck]:
    """Run the bundle once in every engine and precision. A failure does not stop the others.

    No plan is built, because that can take minutes. An engine that needs one counts as not working.
    """
    checks: list[EngineCheck] = []
    for execution in list_fastest(bundle):
        check = _check(bundle, execution, threads)
        # One line is enough for all precisions of an engine with the same problem.
        if not check.problem or (check.engine, check.problem) not in [(one.engine, one.problem) for one in checks]:
            checks.append(check)
    return checks


def check_choice(bundle: Bundle, *, threads: int | None = None) -> EngineCheck:
    """Run the bundle once in the engine and precision that ``auto`` chooses."""
    check = EngineCheck(engine="auto", precision="auto")
    return _measure(check, bundle, partial(open_session, bundle, threads=threads))


def _check(bundle: Bundle, execution: ExecutionConfig, threads: int | None) -> EngineCheck:
    engine = get_engine(execution.engine)
    check = EngineCheck(engine=engine.name, precision=execution.arithmetic)
    if engine.is_on_gpu and not find_gpus():
        return replace(check, problem=_NO_GPU)
    if obstacle := engine.find_obstacle():
        return replace(check, problem=obstacle)
    possible = [runnable.arithmetic for runnable in engine.find_runnable(execution.model)]
    if not engine.is_on_gpu and execution.arithmetic not in possible:
        return replace(check, problem=f"this processor does not compute {execution.arithmetic}")
    return _measure(check, bundle, partial(open_execution, execution, threads=threads, plan_policy="cached"))


def _measure(check: EngineCheck, bundle: Bundle, open_model: Callable[[], Session]) -> EngineCheck:
    sizes = SizeRange.from_limits(bundle.manifest.sizes)
    inputs = make_batch(*sizes.clamp((1, SIDE, SIDE), bundle.manifest.size_multiple))[: len(bundle.task.inputs)]
    try:
        with open_model() as session:
            session.run(*inputs)
            started = time.perf_counter()
            session.run(*inputs)
            latency_ms = (time.perf_counter() - started) * 1e3
            return replace(check, precision=session.arithmetic, label=session.engine, latency_ms=latency_ms)
    except WavePaintError as error:
        return replace(check, problem=str(error))
