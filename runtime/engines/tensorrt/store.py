"""Plans that fit this machine: those of a bundle are checked before they are loaded, the others built and kept.

A plan runs in the one version of the library that built it, on the compute capabilities it was built for: TensorRT
promises no more without flags that cost speed, and TensorRT-RTX names the capabilities a plan ahead of time is for.

A plan built here is one file in the cache folder, named by everything it depends on: a line of JSON, then the plan.
"""

import hashlib
import importlib.util
import json
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from wavepaint.atomic import write_file
from wavepaint.cache import cache_folder
from wavepaint.contract import Artifact, hash_file
from wavepaint.errors import BundleError, ConfigError, EngineError, OutputError, WavePaintWarning
from wavepaint.runtime.engines.gpus import Gpu, find_gpus
from wavepaint.runtime.engines.tensorrt.build import (
    Library,
    PlanOptions,
    PlanPolicy,
    Profile,
    build_plan,
    load_library,
    name_library,
    serves,
)
from wavepaint.runtime.engines.tensorrt.plan import PlanRefusedError
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

_MODULES: dict[Library, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a plan is made from, for the GPU and the library that are here.

    Attributes:
        model: The ONNX file.
        artifact: What the manifest says of it.
        size_multiple: The manifest's.
        builder: The library that builds, in ``version``.
        version: Of the library.
        capability: The GPU's compute capability.
        options: How.
        reference: The float32 model that the plan is compared with before it is kept; None for none.
    """

    model: Path
    artifact: Artifact
    size_multiple: int
    builder: Library
    version: str
    capability: str
    options: PlanOptions
    reference: Path | None = None

    def path(self) -> Path:
        """Return where the plan is kept."""
        depends = {
            "onnx_sha256": hash_file(self.model),
            "edges": self.artifact.io_dtype,
            "profiles": [asdict(profile) for profile in self.options.profiles],
            "workspace_mb": self.options.workspace_mb,
            "optimization_level": self.options.optimization_level,
        }
        if self.reference is not None:
            depends["reference_sha256"] = hash_file(self.reference)
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
        return cache_folder() / "plans" / f"{key}.{self.builder}-{self.version}.{self.capability}.cached"


def require_gpu(library: Library) -> Gpu:
    """Return the GPU that plans run on. Asked first, it costs no import where there is none.

    Raises:
        EngineError: No driver or no GPU.
    """
    gpus = find_gpus()
    if not gpus:
        name = name_library(library, "").strip()
        raise EngineError(
            f"{name} runs on NVIDIA GPUs, and no driver or GPU was found here. With a GPU, install its driver and: "
            f'pip install "wavepaint[{library}]"'
        )
    return gpus[0]


def why_unfit(details: dict[str, Any], library: Library, version: str, capability: str) -> str:
    """Return why a plan does not fit a library and a GPU, a sentence; empty if it does.

    Args:
        details: The manifest's, of the plan.
        library: Whose plan it is.
        version: Installed version of the library.
        capability: The GPU's, such as "sm90".
    """
    built_by = details.get("library_version")
    if built_by != version:
        return (
            f"it was built by {name_library(library, str(built_by))}, and {name_library(library, version)} is installed"
        )
    if not serves(details, capability):
        built_for = ", ".join(details.get("compute_capabilities") or ()) or "no GPU that is named"
        return f"it was built for {built_for}, and the GPU here is {capability}"
    return ""


def why_not_here(artifact: Artifact) -> str:
    """Return why this machine cannot run a bundle's plan as it stands; empty if it can."""
    library = cast(Library, artifact.kind)
    try:
        gpu = require_gpu(library)
        if importlib.util.find_spec(_MODULES[library]) is None:
            return f'{library} is not installed: pip install "wavepaint[{library}]"'
        return why_unfit(artifact.details, library, load_library(library).__version__, gpu.compute_capability)
    except EngineError as error:
        return str(error)


def open_plan(
    artifact: Artifact,
    path: Path,
    size_multiple: int,
    *,
    library: Library,
    streams: int = 2,
    plan_policy: PlanPolicy = "build",
    reference: Path | None = None,
) -> TensorRtSession:
    """Open a bundle's plan if it fits, else one that was built here before from the same ONNX model, else build that.

    Args:
        artifact: A plan of the library, or an ONNX model.
        path: Its file; a plan's ONNX model lies beside it.
        size_multiple: The manifest's.
        library: What runs it.
        streams: See :class:`TensorRtSession`.
        plan_policy: What to do where the bundle's plan does not fit.
        reference: The bundle's float32 model, which a plan that is built is compared with before it is kept; None
            keeps it without, apart from those.

    Raises:
        EngineError: No GPU, no library, no plan that fits (unless it may be built), a build or a start that failed, or
            a plan that was built and differs from the float32 model by more than its budget.
        BundleError: The plan's entry in the manifest is damaged.
    """
    gpu, trt = require_gpu(library), load_library(library)
    reason = f"{path.parent} holds no plan for {library}"
    if artifact.kind == library:
        reason = _why_not(artifact, path, library, trt.__version__, gpu.compute_capability)
        if not reason:
            try:
                return TensorRtSession(path, library=library, streams=streams, **_describe(artifact, size_multiple))
            except PlanRefusedError as error:
                reason = f"{path.name} cannot be used: {error}"
    if plan_policy == "refuse":
        raise EngineError(f"{reason}.")
    model, options = _find_source(artifact, path, library, size_multiple)
    recipe = Recipe(
        model=model,
        artifact=replace(artifact, path=model.name, kind="onnx", details={}),
        size_multiple=size_multiple,
        builder=library,
        version=trt.__version__,
        capability=gpu.compute_capability,
        options=options,
        reference=reference,
    )
    kept, content, damage = recipe.path(), None, ""
    if kept.exists():
        content, damage = read_kept(kept)
    if content is not None:
        try:
            return _open_built(recipe, kept, content, streams, reason)
        except PlanRefusedError as error:
            damage = f"{kept} cannot be used: {error}"
    if plan_policy == "cached":
        raise EngineError(
            f"{damage or reason}, and none was built here yet for this {gpu.name}. Build one with: wp export "
            f"{path.parent} -o NEW --engine {library}; or name the engine where you fill (--engine {library})."
        )
    warnings.warn(
        f"{damage or reason}. A plan for this {gpu.name} is built now, which can take minutes; it is kept in "
        f"{kept.parent}.",
        WavePaintWarning,
        stacklevel=3,
    )
    content, head = _build(recipe)
    session = _open_built(recipe, kept, content, streams, reason)
    if reference is not None:
        _require_right(session, reference)
    _keep(kept, content, head)
    return session


def _require_right(session: TensorRtSession, reference: Path) -> None:
    """Compare a plan that was built with the float32 model; one that differs is closed and an EngineError."""
    from wavepaint.runtime.engines.comparison import check_session, describe_failure

    try:
        failure = describe_failure(check_session(session, reference))
        if failure:
            raise EngineError(f"the plan that was built is wrong and not kept: {failure}. Choose another --precision.")
    except EngineError:
        session.close()
        raise


def _why_not(artifact: Artifact, path: Path, library: Library, version: str, capability: str) -> str:
    reason = why_unfit(artifact.details, library, version, capability)
    model = path.with_name(str(artifact.details.get("onnx")))
    if not reason and model.is_file() and hash_file(model) != artifact.details.get("onnx_sha256"):
        reason = f"it was built from another {model.name} than the one beside it"
    return f"{path.name} cannot be used: {reason}" if reason else ""


def _find_source(artifact: Artifact, path: Path, library: Library, size_multiple: int) -> tuple[Path, PlanOptions]:
    """Return what a plan is to be built from, and how: as the bundle's own was, else for every size up to 1024."""
    if artifact.kind != library:
        low = (1, size_multiple, size_multiple) if artifact.io_dtype == "float32" else (1, 1, 1)
        return path, PlanOptions(profiles=(replace(Profile(), min=low),))
    details = artifact.details
    try:
        model = path.with_name(details["onnx"])
        profiles = [{key: tuple(profile[key]) for key in ("min", "opt", "max")} for profile in details["profiles"]]
        options = PlanOptions(
            profiles=tuple(Profile(**profile) for profile in profiles),
            workspace_mb=details.get("workspace_mb"),
            optimization_level=details.get("optimization_level"),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(
            f"the manifest of {path.parent} is damaged in the details of {path.name} ({error!r}). Export it again."
        ) from error
    if not model.is_file():
        raise EngineError(
            f"{path.name} does not fit this machine, and {model} from which it could be built is not there. Export "
            "the bundle again."
        )
    return model, options


def _describe(artifact: Artifact, size_multiple: int) -> dict[str, Any]:
    return {"edges": artifact.io_dtype, "size_multiple": size_multiple, "precision": artifact.precision}


def _open_built(recipe: Recipe, path: Path, content: bytes, streams: int, reason: str) -> TensorRtSession:
    return TensorRtSession(
        path,
        content=content,
        library=recipe.builder,
        streams=streams,
        rebuilt_because=reason,
        **_describe(recipe.artifact, recipe.size_multiple),
    )


def read_kept(path: Path) -> tuple[bytes | None, str]:
    """Return a plan that was kept, or None and why it cannot be used."""
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
    """Build a plan; return it and what is to be known of it."""
    with tempfile.TemporaryDirectory(prefix="wavepaint-plan-") as folder:
        unfinished = Path(folder) / "plan"
        details = build_plan(
            recipe.model, unfinished, recipe.artifact, recipe.size_multiple, recipe.builder, recipe.options
        )
        content = unfinished.read_bytes()
    return content, details


def _keep(kept: Path, content: bytes, details: dict[str, Any]) -> None:
    """Write a plan into the cache; one that cannot be kept is used all the same."""
    head = json.dumps({**details, "plan_sha256": hashlib.sha256(content).hexdigest()})
    try:
        with write_file(kept, overwrite=True) as temporary:
            temporary.write_bytes(head.encode() + b"\n" + content)
    except OutputError as error:
        warnings.warn(
            f"the plan is used and not kept, so the next start builds it again: {error} WAVEPAINT_CACHE names another "
            "folder.",
            WavePaintWarning,
            stacklevel=4,
        )
