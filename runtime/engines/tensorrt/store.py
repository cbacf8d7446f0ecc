"""Plans for this machine: a bundle's plan is checked before it is loaded; if it does not fit, another is built.

A plan runs in the one version of the library that built it, and on the compute capabilities it was built for. TensorRT
promises no more without flags that cost speed, and TensorRT-RTX names the capabilities of a plan built ahead of time.

A plan that is built here is cached as one file, named by everything it depends on: a line of JSON, then the plan.
"""

import hashlib
import json
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.cache import cache_folder
from wavepaint.contract import Model, hash_file
from wavepaint.errors import BundleError, ConfigError, EngineError, OutputError, WavePaintWarning
from wavepaint.runtime.engines.engine import PlanPolicy
from wavepaint.runtime.engines.tensorrt.build import build_plan, serves
from wavepaint.runtime.engines.tensorrt.library import TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.plan import PlanRefusedError
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession
from wavepaint.runtime.engines.trust import Reference


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a plan for this machine depends on.

    Attributes:
        model: The ONNX model.
        library: The library that builds it.
        version: The library's version.
        capability: The GPU's compute capability.
        options: How to build it.
        reference: The float32 model that it is compared with before it is cached; None for none.
    """

    model: Model
    library: TensorRtLibrary
    version: str
    capability: str
    options: PlanOptions
    reference: Reference | None = None

    def locate(self) -> Path:
        """Return the path of the cached plan."""
        depends = {
            "onnx_sha256": hash_file(self.model.path),
            "edges": self.model.artifact.io_dtype,
            "profiles": [asdict(profile) for profile in self.options.profiles],
            "workspace_mb": self.options.workspace_mb,
            "optimization_level": self.options.optimization_level,
        }
        if self.reference is not None:
            depends["reference_sha256"] = hash_file(self.reference.model.path)
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
        return cache_folder() / "plans" / f"{key}.{self.library.name}-{self.version}.{self.capability}.cached"


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
    gpu, trt = library.require_gpu(), library.load()
    reason = f"{model.path.parent} holds no plan for {library.name}"
    if model.artifact.kind == library.name:
        reason = _find_misfit(model, library, trt.__version__, gpu.compute_capability)
        if not reason:
            try:
                return TensorRtSession(model, library, streams=streams)
            except PlanRefusedError as error:
                reason = f"{model.path.name} cannot be used: {error}"
    if plan_policy == "refuse":
        raise EngineError(f"{reason}.")
    source, options = _find_source(model, library)
    recipe = Recipe(
        model=source,
        library=library,
        version=trt.__version__,
        capability=gpu.compute_capability,
        options=options,
        reference=reference,
    )
    cached, content, damage = recipe.locate(), None, ""
    if cached.exists():
        content, damage = read_cached(cached)
    if content is not None:
        try:
            return _open_built(recipe, cached, content, streams, reason)
        except PlanRefusedError as error:
            damage = f"{cached} cannot be used: {error}"
    if plan_policy == "cached":
        raise EngineError(
            f"{damage or reason}, and no plan for this {gpu.name} is cached. Build one with: wp export "
            f"{model.path.parent} -o NEW --engine {library.name}; or name the engine where you fill (--engine "
            f"{library.name})."
        )
    warnings.warn(
        f"{damage or reason}. A plan for this {gpu.name} is built now, which can take minutes, and cached in "
        f"{cached.parent}.",
        WavePaintWarning,
        stacklevel=3,
    )
    content, details = _build(recipe)
    session = _open_built(recipe, cached, content, streams, reason)
    if reference is not None:
        _require_match(session, reference)
    _write_cached(cached, content, details)
    return session


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
        return model, PlanOptions(profiles=(replace(Profile(), min=(1, multiple, multiple)),))
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


def _open_built(recipe: Recipe, path: Path, content: bytes, streams: int, reason: str) -> TensorRtSession:
    model = replace(recipe.model, path=path)
    return TensorRtSession(model, recipe.library, content=content, streams=streams, rebuilt_because=reason)


def read_cached(path: Path) -> tuple[bytes | None, str]:
    """Return a cached plan and an empty string, or None and why it cannot be used."""
    try:
        head, _, content = path.read_bytes().partition(b"\n")
        if json.loads(head)["plan_sha256"] == hashlib.sha256(content).hexdigest():
            return content, ""
        return None, f"{path} is damaged"
    except OSError as error:
        return None, f"{path} cannot be read ({error.strerror or error})"
    except (ValueError, KeyError, TypeError):
        return None, f"{path} is damaged"


def _build(recipe: Recipe) -> tuple[bytes, dict[str, Any]]:
    """Build a plan; return it and its details."""
    with tempfile.TemporaryDirectory(prefix="wavepaint-plan-") as folder:
        unfinished = Path(folder) / "plan"
        details = build_plan(recipe.model, unfinished, recipe.library, recipe.options)
        return unfinished.read_bytes(), details


def _write_cached(path: Path, content: bytes, details: dict[str, Any]) -> None:
    """Write a plan into the cache. A failure is a warning: the plan is used all the same."""
    head = json.dumps({**details, "plan_sha256": hashlib.sha256(content).hexdigest()})
    try:
        with write_file(path, overwrite=True) as temporary:
            temporary.write_bytes(head.encode() + b"\n" + content)
    except OutputError as error:
        warnings.warn(
            f"the plan is used but not cached, so the next start builds it again: {error} Set WAVEPAINT_CACHE to "
            "choose another folder.",
            WavePaintWarning,
            stacklevel=4,
        )
