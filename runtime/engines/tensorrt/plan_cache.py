"""Open a plan that fits this machine: the bundle's, a cached one, or one that is built now.

A plan runs in the one version of the library that built it, and on the compute capabilities it was built for. TensorRT
promises no more without flags that cost speed, and TensorRT-RTX names the capabilities of a plan built ahead of time.

A plan that is built here is cached as one file, named by everything it depends on: a line of JSON, then the plan.
"""

import hashlib
import json
import tempfile
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.cache_folder import cache_folder
from wavepaint.contract import Model, hash_file
from wavepaint.errors import BundleError, ConfigError, EngineError, OutputError, WavePaintWarning
from wavepaint.runtime.engines.engine import PlanPolicy
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.libraries import ANY_GPU, TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.plan import PlanRefusedError
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession
from wavepaint.runtime.engines.trust import Reference
from wavepaint.runtime.sizes import SizeRange


def serves(details: dict[str, Any], capability: str) -> bool:
    """Return whether a plan is for GPUs of a compute capability.

    Args:
        details: The plan's details in the manifest.
        capability: Such as "sm90".
    """
    return not {capability, ANY_GPU}.isdisjoint(details.get("compute_capabilities") or ())


def find_mismatch(details: dict[str, Any], library: TensorRtLibrary, version: str, capability: str) -> str:
    """Return why a plan does not fit a library and a GPU; empty if it does.

    Args:
        details: The plan's details in the manifest.
        library: The library that would run it.
        version: The library's installed version.
        capability: The GPU's compute capability, such as "sm90".
    """
    built_by = details.get("library_version")
    if built_by != version:
        return f"it was built by {library.label} {built_by}, and {library.label} {version} is installed"
    if not serves(details, capability):
        built_for = ", ".join(details.get("compute_capabilities") or ()) or "no named GPU"
        return f"it was built for {built_for}, and the GPU here is {capability}"
    return ""


def open_plan(
    model: Model,
    library: TensorRtLibrary,
    *,
    streams: int = 2,
    plan_policy: PlanPolicy = "build",
    reference: Reference | None = None,
) -> TensorRtSession:
    """Open a bundle's plan if it fits, else the cached plan of the same ONNX model, else build one.

    Args:
        model: A plan of the library, or an ONNX model. A plan's ONNX model is in the same folder.
        library: The library that runs the plan.
        streams: See :class:`TensorRtSession`.
        plan_policy: What to do if the bundle's plan does not fit.
        reference: A new plan is compared with it before it is cached. Without one the plan is cached unchecked, under
            another name.

    Raises:
        EngineError: There is no GPU, no library or no plan that fits (unless one may be built); the build or the start
            failed; or the new plan differs from the float32 model by more than its budget.
        BundleError: The plan's entry in the manifest is damaged.
    """
    gpu, version = library.require_gpu(), library.load().__version__
    reason = f"{model.path.parent} has no plan for {library.name}"
    if model.artifact.kind == library.name:
        reason = _find_misfit(model, library, version, gpu.compute_capability)
        if not reason:
            try:
                return TensorRtSession(model, library, streams=streams)
            except PlanRefusedError as error:
                reason = f"{model.path.name} cannot be used: {error}"
    if plan_policy == "refuse":
        raise EngineError(f"{reason}.")
    source, options = _find_source(model, library)
    key = _make_key(source, options, reference)
    cached = cache_folder() / "plans" / f"{key}.{library.name}-{version}.{gpu.compute_capability}.cached"

    def open_content(content: bytes) -> TensorRtSession:
        plan = replace(source, path=cached)
        return TensorRtSession(plan, library, content=content, streams=streams, rebuilt_because=reason)

    problem = reason
    if cached.exists():
        try:
            return open_content(read_cached(cached))
        except PlanRefusedError as error:
            problem = f"{cached} cannot be used: {error}"
    if plan_policy == "cached":
        raise EngineError(
            f"{problem}, and no plan for this {gpu.name} is cached. Build one with: wp export {model.path.parent} -o "
            f"NEW --engine {library.name}; or name the engine where you fill (--engine {library.name})."
        )
    warnings.warn(
        f"{problem}. A plan for this {gpu.name} is built now, which can take minutes, and cached in {cached.parent}.",
        WavePaintWarning,
        stacklevel=4,
    )
    content, details = _build(source, library, options)
    session = open_content(content)
    if reference is not None:
        _require_match(session, reference)
    _write_cached(cached, content, details)
    return session


def _make_key(source: Model, options: PlanOptions, reference: Reference | None) -> str:
    """Return a hash of everything that a plan depends on besides the library's version and the GPU."""
    depends = {
        "onnx_sha256": hash_file(source.path),
        "edges": source.artifact.io_dtype,
        "profiles": [asdict(profile) for profile in options.profiles],
        "workspace_mb": options.workspace_mb,
        "optimization_level": options.optimization_level,
    }
    if reference is not None:
        depends["reference_sha256"] = hash_file(reference.model.path)
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def _build(source: Model, library: TensorRtLibrary, options: PlanOptions) -> tuple[bytes, dict[str, Any]]:
    """Build a plan; return it and its details."""
    with tempfile.TemporaryDirectory(prefix="wavepaint-plan-") as folder:
        unfinished = Path(folder) / "plan"
        details = build_plan(source, unfinished, library, options)
        return unfinished.read_bytes(), details


def _require_match(session: TensorRtSession, reference: Reference) -> None:
    """Compare a new plan with the float32 model; close it and raise EngineError if it differs."""
    try:
        failure = reference.find_difference(session)
        if failure:
            raise EngineError(f"the new plan is wrong and not cached: {failure}. Choose another --precision.")
    except EngineError:
        session.close()
        raise


def _find_misfit(model: Model, library: TensorRtLibrary, version: str, capability: str) -> str:
    details = model.artifact.details
    reason = find_mismatch(details, library, version, capability)
    onnx = model.path.with_name(str(details.get("onnx")))
    if not reason and onnx.is_file() and hash_file(onnx) != details.get("onnx_sha256"):
        reason = f"it was built from another {onnx.name} than the one in the bundle"
    return f"{model.path.name} cannot be used: {reason}" if reason else ""


def _find_source(model: Model, library: TensorRtLibrary) -> tuple[Model, PlanOptions]:
    """Return the ONNX model to build from, and the options: those of the bundle's plan, else for sizes up to 1024."""
    artifact = model.artifact
    if artifact.kind != library.name:
        multiple = model.size_multiple if artifact.io_dtype == "float32" else 1
        profile = replace(Profile(), min=(1, multiple, multiple))
        return model, PlanOptions(profiles=(profile.clamp(SizeRange.from_limits(model.sizes), multiple),))
    details = artifact.details
    try:
        source = model.get_sibling(replace(artifact, path=details["onnx"], kind="onnx", details={}))
        profiles = [{key: tuple(profile[key]) for key in ("min", "opt", "max")} for profile in details["profiles"]]
        options = PlanOptions(
            profiles=tuple(Profile(**profile) for profile in profiles),
            workspace_mb=details.get("workspace_mb"),
            optimization_level=details.get("optimization_level"),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(
            f"the manifest of {model.path.parent} is damaged in the details of {model.path.name} ({error!r}). Export "
            "it again."
        ) from error
    if not source.path.is_file():
        raise EngineError(
            f"{model.path.name} does not fit this machine, and {source.path}, from which another could be built, is "
            "missing. Export the bundle again."
        )
    return source, options


def read_cached(path: Path) -> bytes:
    """Return a cached plan.

    Raises:
        PlanRefusedError: The file is damaged or cannot be read.
    """
    try:
        head, _, content = path.read_bytes().partition(b"\n")
        if json.loads(head)["plan_sha256"] == hashlib.sha256(content).hexdigest():
            return content
    except OSError as error:
        raise PlanRefusedError(f"it cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise PlanRefusedError("it is damaged")


def _write_cached(path: Path, content: bytes, details: dict[str, Any]) -> None:
    """Write a plan into the cache. A failure only warns, because the plan can be used without the cache."""
    head = json.dumps({**details, "plan_sha256": hashlib.sha256(content).hexdigest()})
    try:
        with write_file(path, overwrite=True) as temporary:
            temporary.write_bytes(head.encode() + b"\n" + content)
    except OutputError as error:
        warnings.warn(
            f"the plan is used but not cached, so the next start builds it again: {error} Set WAVEPAINT_CACHE to "
            "choose another folder.",
            WavePaintWarning,
            stacklevel=5,
        )
