"""Engines for a bundle: which plans to build, and what the manifest says of them. Needs neither torch nor onnx."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from wavepaint import contract
from wavepaint.atomic import write_folder
from wavepaint.contract import Artifact, Bundle, Report
from wavepaint.errors import ConfigError, EngineError, VerificationError
from wavepaint.export.verify import Suite, own_suite, require_passed, summarise, verify_artifact
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.registry import find_runnable
from wavepaint.runtime.engines.tensorrt.build import (
    LIBRARIES,
    Library,
    PlanOptions,
    build_plan,
    choose_targets,
    load_library,
)
from wavepaint.runtime.engines.tensorrt.callbacks import OnProgress
from wavepaint.runtime.engines.trust import can_compare

_PREFERRED = ("float16", "bfloat16", "float32")

Verify = Callable[[Artifact], list[Report]]

OnSkip = Callable[[Library, str], None]
"""Told of an engine that is not built and why."""


@dataclass(frozen=True, kw_only=True)
class EngineRequest:
    """Which plans to build.

    Attributes:
        libraries: Who builds.
        required: Whether a library that cannot build here is an error; otherwise it is passed over.
        precisions: Of the models to build from; empty for the best the bundle has: float16, bfloat16, float32.
        target_groups: For each plan the compute capabilities it is for; one empty group is the library's own choice.
        options: The rest, the same for all; its targets do not count.

    Raises:
        ConfigError: No group of targets.
    """

    libraries: tuple[Library, ...] = LIBRARIES
    required: bool = False
    precisions: tuple[str, ...] = ()
    target_groups: tuple[tuple[str, ...], ...] = ((),)
    options: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        if not self.target_groups:
            raise ConfigError("there is no group of targets: expected at least one, which may be empty (--sm).")

    def get_targets(self, library: Library) -> tuple[tuple[str, ...], ...]:
        """Return the groups for a library: targets mean TensorRT-RTX, unless TensorRT alone is asked for."""
        if library == "tensorrt" and (not self.required or len(self.libraries) > 1):
            return ((),)
        return self.target_groups


def find_builders(request: EngineRequest, size_multiple: int, on_skip: OnSkip) -> list[Library]:
    """Return the libraries that can build here, so that what cannot is known before any long work.

    Args:
        request: Which plans to build.
        size_multiple: What the model's height and width must be multiples of.
        on_skip: Told of libraries that are passed over.

    Raises:
        EngineError: A required library cannot build here.
        ConfigError: Profiles or targets that make no sense.
    """
    for profile in request.options.profiles:
        profile.require_multiple(size_multiple)
    found: list[Library] = []
    for library in request.libraries:
        try:
            load_library(library)
            for targets in request.get_targets(library):
                choose_targets(library, targets, [gpu.compute_capability for gpu in find_gpus()])
        except EngineError as error:
            if request.required:
                raise
            on_skip(library, str(error))
        else:
            found.append(library)
    return found


def choose_models(artifacts: Sequence[Artifact], precisions: Sequence[str] = ()) -> list[Artifact]:
    """Return the ONNX models that engines are built from: those of the precisions, or of the best there is."""
    models = [artifact for artifact in artifacts if artifact.kind == "onnx"]
    held = {model.precision for model in models}
    wanted = precisions or [precision for precision in _PREFERRED if precision in held][:1]
    return [model for model in models if model.precision in wanted]


def build_engines(
    folder: Path,
    artifacts: Sequence[Artifact],
    size_multiple: int,
    request: EngineRequest,
    verify: Verify,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_progress: OnProgress = lambda phase, share: None,
    on_skip: OnSkip = lambda library, reason: None,
) -> tuple[list[Artifact], dict[str, list[Report]]]:
    """Build plans into a bundle's (unfinished) folder, and verify those that fit the GPU here.

    Args:
        folder: Where the ONNX models lie.
        artifacts: What the bundle holds so far.
        size_multiple: The manifest's.
        request: Which to build, of libraries that :func:`find_builders` found.
        verify: Runs a plan that fits the GPU here and compares it.
        on_stage: Told of each plan before it is built.
        on_progress: Told of each plan's progress.
        on_skip: Told of what could not be built, if it was not required.

    Returns:
        The entries of the new plans, and for each its reports. What fails verification is left out, like what cannot be
        built.

    Raises:
        EngineError: A required engine cannot be built here.
        VerificationError: A required engine differs by more than its budget.
        ConfigError: Profiles or targets that make no sense.
    """
    built: list[Artifact] = []
    reports: dict[str, list[Report]] = {}
    models = choose_models(artifacts, request.precisions)
    for library in request.libraries:
        try:
            for model, targets in itertools.product(models, request.get_targets(library)):
                on_stage(f"building a {library} engine of {model.path}")
                options = replace(request.options, targets=targets)
                plan = _build(folder, model, size_multiple, library, options, on_progress)
                reports[plan.path] = []
                if find_runnable(plan):
                    on_stage(f"verifying {plan.path}")
                    reports[plan.path] = summarise(verify(plan))
                    for report in reports[plan.path]:
                        require_passed(report)
                built.append(plan)
        except (EngineError, VerificationError) as error:
            if request.required:
                raise
            on_skip(library, str(error))
    names = {plan.path for plan in built}
    for name in reports.keys() - names:
        (folder / name).unlink()
        del reports[name]
    return built, reports


def _build(
    folder: Path, model: Artifact, size_multiple: int, library: Library, options: PlanOptions, on_progress: OnProgress
) -> Artifact:
    unfinished = folder / "unfinished.plan"
    details = build_plan(
        folder / model.path, unfinished, model, size_multiple, library, options, on_progress=on_progress
    )

    def name_plan(onnx: str) -> str:
        return f"{onnx.removesuffix('.onnx')}.{library}.{'-'.join(details['compute_capabilities'])}.plan"

    name = name_plan(model.path)
    unfinished.rename(folder / name)
    if model.io_dtype == "uint8":  # a plan of its sibling is built for the same GPUs, and is what it is compared with
        details["float_edges"] = name_plan(model.details["float_edges"])
    return Artifact(path=name, kind=library, precision=model.precision, io_dtype=model.io_dtype, details=details)


def add_engines(
    bundle: Bundle,
    out: Path,
    request: EngineRequest,
    *,
    overwrite: bool = False,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_progress: OnProgress = lambda phase, share: None,
    on_skip: OnSkip = lambda library, reason: None,
) -> Bundle:
    """Copy a bundle and add engines to the copy, whole or not at all.

    Args:
        bundle: A checked bundle.
        out: The new bundle's folder; with ``overwrite`` it may be the old one's.
        request: Which engines to build; a plan of the same name is built again.
        overwrite: Replace a former bundle.
        on_stage: See :func:`build_engines`; so for ``on_progress`` and ``on_skip``.

    Raises:
        EngineError: A required engine cannot be built here, or none can.
        ConfigError: Profiles, targets or precisions that make no sense.
        OutputError: ``out`` exists, or cannot be written.
    """
    manifest = bundle.manifest
    held = {artifact.precision for artifact in manifest.artifacts if artifact.kind == "onnx"}
    for precision in request.precisions:
        if precision not in held:
            raise ConfigError(
                f"{bundle.folder} holds {', '.join(sorted(held))} models, none of {precision}. Export its checkpoint "
                "in that precision, which needs PyTorch."
            )
    request = replace(request, libraries=tuple(find_builders(request, manifest.size_multiple, on_skip)))

    @cache
    def suite() -> Suite:
        return own_suite(bundle.folder, bundle.find_artifact("onnx", "float32"), manifest.size_multiple)

    def verify(plan: Artifact) -> list[Report]:
        if not can_compare():
            return []
        return verify_artifact(folder, plan, manifest.size_multiple, manifest.padding, suite())

    with write_folder(out, overwrite=overwrite) as folder:
        for name in manifest.files:
            shutil.copyfile(bundle.folder / name, folder / name)
        built, reports = build_engines(
            folder,
            manifest.artifacts,
            manifest.size_multiple,
            request,
            verify,
            on_stage=on_stage,
            on_progress=on_progress,
            on_skip=on_skip,
        )
        if not built:
            raise EngineError(f"no engine could be built for {bundle.folder}, so nothing was written.")
        files = contract.describe_files(folder)
        # A former plan is gone where the one that was built in its place failed verification.
        former = [artifact for artifact in manifest.artifacts if artifact.path in files.keys() - reports.keys()]
        manifest = replace(
            manifest,
            artifacts=[*former, *built],
            files=files,
            verification={artifact.path: manifest.verification.get(artifact.path, []) for artifact in former} | reports,
        )
        (folder / contract.MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return Bundle(out, manifest)
