"""What is found out by itself: which engines work here, and whether half precision holds in PyTorch."""

import importlib.metadata
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.accuracy import Accuracy, compare, make_inputs, run_reference
from benchmarks.gpu.ceilings import measure_ceiling
from benchmarks.gpu.cells import Cell, Launch, Place, Probe
from benchmarks.gpu.lanes import NotRunError, StreamContext, allow_tf32
from benchmarks.gpu.networks import UPSAMPLING, build, find_size_multiple, make_plain_half
from benchmarks.gpu.opening import NO_GPU, open_lane
from benchmarks.gpu.plans import Alive
from wavepaint.bench.entrants import DEFAULT
from wavepaint.errors import EngineError
from wavepaint.export.cases import verification_cases
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.precision import HalfPrecision
from wavepaint.optional import require
from wavepaint.runtime.engines.gpus import find_driver_version, find_gpus

_SIDE = 256
_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx", "ort-cuda": "onnxruntime"}
_LIBRARIES = ("tensorrt", "tensorrt-rtx")


def run_probe(probe: Probe, place: Place, alive: Alive) -> tuple[dict[str, Any], StreamContext | None]:
    """Return what a probe found, as plain values; whatever it raises is why it does not work.

    Returns:
        What was found, and what is to be closed once that is kept: closing may take the process along.
    """
    if probe.kind == "ceiling":
        return measure_ceiling(probe.name, place.device), None
    if probe.kind == "numerics":
        return measure_numerics(probe.name, place.device), None
    return check_engine(probe.name, place, alive)


def check_engine(name: str, place: Place, alive: Alive) -> tuple[dict[str, Any], StreamContext | None]:
    """Run the model that ships once in an engine, in float16 on the GPU; tell version and time.

    Args:
        name: The engine.
        place: Where.
        alive: Called now and then while a plan is built.

    Returns:
        As :func:`run_probe`.

    Raises:
        NotRunError: There is no GPU.
        Exception: Whatever the engine raises.
    """
    told = _describe_engine(name)
    if name == "pytorch":
        if place.device == "cuda" and not torch.cuda.is_available():
            raise EngineError(f"PyTorch {torch.__version__} sees no GPU, and the driver does. Install one with CUDA.")
        return told, None
    if place.device != "cuda":
        if name != "torch-compile":
            raise NotRunError(f"{NO_GPU} ({_in_words(told)})" if told else NO_GPU)
        side = 32
    else:
        side = _SIDE
    engine, launch = {
        "cuda-graph": ("pytorch", "graph"),
        "torch-compile": ("torch-compile", "plain"),
        "ort-cuda": ("ort-cuda", "plain"),
    }.get(name, (name, "graph"))
    how: Launch = "graph" if launch == "graph" else "plain"
    cell = Cell(engine, "float16", DEFAULT, side, 1, how)
    image, mask = make_inputs(1, side, "float32")
    started = time.perf_counter()
    lane = open_lane(cell, place, alive)
    try:
        output = lane.run(image, mask)
        told |= {"label": lane.label, "open_and_first_run_s": time.perf_counter() - started}
        for _ in range(2):
            lane.run(image, mask)
        allow_tf32("float32")
        expected = run_reference(build(DEFAULT).to(place.device), place.device, image, mask)
        told |= {
            "note": lane.note,
            "compute_ms": min(lane.time_compute(image, mask, 5), default=None),
            "accuracy": compare(output, expected, image, mask).as_dict(),
        }
    except BaseException:
        lane.try_to_close()
        raise
    return told, lane


def _describe_engine(name: str) -> dict[str, Any]:
    if name in _MODULES:
        try:
            return {"version": require(_MODULES[name], extra="gpu" if name == "ort-cuda" else name).__version__}
        except Exception:
            if name not in _LIBRARIES or find_gpus():
                raise
            return {}
    told: dict[str, Any] = {"version": str(torch.__version__), "cuda": torch.version.cuda}
    if name == "pytorch":
        told["driver_supports_cuda"] = find_driver_version()
        told["gpus"] = [vars(gpu) for gpu in find_gpus()]
        told["packages"] = {
            package: importlib.metadata.version(package)
            for package in ("numpy", "onnx", "onnxruntime", "cuda-bindings", "triton")
            if _is_installed(package)
        }
        told["nvinfer_libraries"] = _find_libraries("libnvinfer")
        if torch.cuda.is_available():
            told["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
            told["compute_capability"] = "sm{}{}".format(*torch.cuda.get_device_capability())
    return told


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _find_libraries(stem: str) -> list[str]:
    """Return shared libraries of the system by the beginning of their name: an installed TensorRT without Python."""
    folders = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/local/cuda/lib64"), Path("/usr/local/tensorrt/lib"))
    return sorted(str(path) for folder in folders if folder.is_dir() for path in folder.glob(f"{stem}*"))


def _in_words(told: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in told.items() if value)


def measure_numerics(name: str, device: str) -> dict[str, Any]:
    """Compare a fused model on the device, in float32 and in float16, with the unfused one in float32 there.

    Returns:
        For each the worst accuracy over the cases that exports are verified in, and the case.
    """
    allow_tf32("float32")
    original = build(name).to(device)
    forms: dict[str, tuple[nn.Module, float]] = {
        "fused float32": (fuse(build(name), upsampling=UPSAMPLING).to(device), 90.0),
        "fused float16": (make_plain_half(name).to(device), 50.0),
    }
    if device == "cuda":
        bfloat16 = fuse(build(name), upsampling=UPSAMPLING).bfloat16()
        forms["fused bfloat16"] = (HalfPrecision(bfloat16, torch.bfloat16).to(device).eval(), 0.0)
    told: dict[str, Any] = {}
    for form, (network, least_db) in forms.items():
        worst: tuple[float, str, Accuracy] | None = None
        num_cases = 0
        for case, image, mask in verification_cases(find_size_multiple(name)):
            # Half precision takes a CPU a hundred times as long; without a hole there is nothing to compare.
            if (device == "cpu" and image.shape[2] > 128) or not mask.any():
                continue
            tensors = [torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (image, mask)]
            with torch.inference_mode():
                output = network(*tensors).clamp(0, 1).float().cpu().numpy()
            found = compare(output, run_reference(original, device, image, mask), image, mask, least_db)
            num_cases += 1
            key = found.psnr_hole_db if found.psnr_hole_db is not None else -1.0
            if worst is None or key < worst[0] or (worst[2].passed and not found.passed):
                worst = (key, case, found)
        assert worst is not None
        told[form] = {"case": worst[1], "num_cases": num_cases, **worst[2].as_dict()}
    return told
