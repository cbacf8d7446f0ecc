"""Which ways of running a bundle can be trusted: what its reports say, and what was compared on this machine."""

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wavepaint.atomic import write_file
from wavepaint.cache import cache_folder
from wavepaint.contract import Bundle, Report
from wavepaint.errors import EngineError, OutputError
from wavepaint.runtime.engines.session import Session

if TYPE_CHECKING:
    from wavepaint.runtime.engines.registry import EngineName, ExecutionConfig

LABELS: "dict[EngineName, str]" = {
    "ort-cpu": "ONNX Runtime", "ort-cuda": "ONNX Runtime", "openvino": "OpenVINO",
    "tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX",
}  # fmt: skip
"""How each engine's name in a report begins; a version follows."""


def find_engine(report: Report) -> "EngineName | None":
    """Return the engine that a report is of; None where it does not say."""
    label = report.get("engine", "")
    is_on_gpu = label.endswith("CUDA") or report.get("device", "CPU") not in ("CPU", "")
    for name, start in LABELS.items():
        if f"{label} ".startswith(f"{start} ") and (name != "ort-cpu" or not is_on_gpu):
            return name
    return None


def _find_reports(bundle: Bundle, execution: "ExecutionConfig") -> Iterator[Report]:
    path = execution.artifact.path
    for report in bundle.manifest.verification.get(path, []):
        is_of_way = find_engine(report) in (None, execution.engine) and report.get("precision") in (
            None,
            execution.arithmetic,
        )
        if is_of_way and report.get("sha256") in (None, bundle.manifest.files[path]["sha256"]):
            yield report


def has_failed(bundle: Bundle, execution: "ExecutionConfig") -> bool:
    """Return whether a way was seen to fail verification."""
    return any(not report["passed"] for report in _find_reports(bundle, execution))


def is_verified(bundle: Bundle, execution: "ExecutionConfig") -> bool:
    """Return whether a way has passed verification, and never failed it."""
    passed = [report["passed"] for report in _find_reports(bundle, execution)]
    return bool(passed) and all(passed)


def can_compare() -> bool:
    """Return whether an engine for the CPU is installed, to compare one on the GPU with."""
    return any(importlib.util.find_spec(name) for name in ("onnxruntime", "openvino"))


def check_once(bundle: Bundle, execution: "ExecutionConfig", session: Session) -> None:
    """Compare what was opened on the GPU with the bundle's float32 model, unless that was done here before.

    Where there is nothing to compare with, it is taken as it is.

    Raises:
        EngineError: It fails, or differs by more than its budget; it is closed then.
    """
    if not execution.reference or not can_compare():
        return
    files = bundle.manifest.files
    depends = [files[name]["sha256"] for name in (execution.artifact.path, execution.reference)]
    depends += [session.engine, session.device, session.arithmetic]
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]
    kept = cache_folder() / "checks" / f"{key}.txt"
    try:
        failure = kept.read_text("utf-8")  # empty where it passed
    except (OSError, ValueError):
        from wavepaint.runtime.engines.comparison import check_session, describe_failure

        try:
            failure = describe_failure(check_session(session, bundle.folder / execution.reference)) or ""
        except EngineError:
            session.close()
            raise
        with contextlib.suppress(OutputError), write_file(kept, overwrite=True) as temporary:  # it is made again then
            temporary.write_text(failure, "utf-8")
    if failure:
        session.close()
        raise EngineError(f"{failure}.")
