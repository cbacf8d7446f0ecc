"""Build a bundle's engine plans and their manifest entries. Needs neither torch nor onnx."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from wavepaint import contract
from wavepaint.atomic import write_folder
from wavepaint.contract import INPAINTING, Artifact, Bundle, Model, Precision, Report, SizeLimits
from wavepaint.errors import ConfigError, EngineError, VerificationError
from wavepaint.export.verify import Suite, own_suite, require_passed, summarise, verify_model
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.registry import can_compare, find_runnable
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.callbacks import OnProgress
from wavepaint.runtime.engines.tensorrt.libraries import LIBRARIES, Library, get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions
from wavepaint.runtime.sizes import SizeRange

_PREFERRED = ("float16", "bfloat16", "float32")

Verify = Callable[[Model], list[Report]]

OnSkip = Callable[[Library, str], None]
"""Called with an engine that is not built, and the reason."""


@dataclass(frozen=True, kw_only=True)
class EngineRequest:
    """Which plans to build.

    Attributes:
        libraries: Libraries to build with.
        required: A library that cannot build here is an error; otherwise it is skipped.
        precisions: Precisions of the models to build from. Empty takes the bundle's first of float16, bfloat16 and
            float32.
        target_groups: Compute capabilities for each plan. An empty group leaves the choice to the library.
        options: Further options, the same for all plans. Their targets are ignored.

    Raises:
        ConfigError: ``target_groups`` is empty.
    """

    libraries: tuple[Library, ...] = LIBRARIES
    required: bool = False
    precisions: tuple[Precision, ...] = ()
    target_groups: tuple[tuple[str, ...], ...] = ((),)
    options: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        if not self.target_groups:
            raise ConfigError("there is no group of targets: expected at least one, which may be empty (--sm).")

    def get_targets(self, library: Library) -> tuple[tuple[str, ...], ...]:
        """Return the groups for a library. Targets apply to TensorRT-RTX, unless only TensorRT is requested."""
        if not get_library(library).takes_targets and (not self.required or len(self.libraries) > 1):
            return ((),)
        return self.target_groups


def find_builders(request: EngineRequest, size_multiple: int, on_skip: OnSkip) -> list[Library]:
    """Return the libraries that can build here, before any long work.

    Args:
        request: Which plans to build.
        size_multiple: The model's height and width must be multiples of this.
        on_skip: Called with each library that is skipped.

    Raises:
        EngineError: A required library cannot build here.
        ConfigError: Invalid profiles or targets.
    """
    for profile in request.options.profiles:
        profile.require_multiple(size_multiple)
    found: list[Library] = []
    for library in request.libraries:
        try:
            get_library(library).load()
            for targets in request.get_targets(library):
                get_library(library).choose_targets(targets, [gpu.compute_capability for gpu in find_gpus()])
        except EngineError as error:
            if request.required:
                raise
            on_skip(library, str(error))
        else:
            found.append(library)
    return found


def fit_profiles(request: EngineRequest, limits: SizeLimits | None, size_multiple: int) -> EngineRequest:
    """Return a request whose default profile lies within the sizes that a model takes.

    Raises:
        ConfigError: A profile that was asked for does not.
    """
    sizes, options = SizeRange.from_limits(limits), request.options
    if options.profiles == PlanOptions().profiles:
        (default,) = options.profiles
        return replace(request, options=replace(options, profiles=(default.clamp(sizes, size_multiple),)))
    for profile in options.profiles:
        if not (sizes.contains(profile.min) and sizes.contains(profile.max)):
            least, most = ("{}x{}x{}".format(*size) for size in sizes)
            raise ConfigError(
                f"a profile reaches beyond the sizes that this model takes: {least} to {most}, batch x height x width "
                "(--shapes, --batches)."
            )
    return request


def choose_models(models: Sequence[Model], precisions: Sequence[str] = ()) -> list[Model]:
    """Return the ONNX models to build engines from, in the given precisions or else in the preferred one."""
    onnx = [model for model in models if model.artifact.kind == "onnx"]
    available = {model.artifact.precision for model in onnx}
    wanted = precisions or [precision for precision in _PREFERRED if precision in available][:1]
    return [model for model in onnx if model.artifact.precision in wanted]


def build_engines(
    models: Sequence[Model],
    request: EngineRequest,
    verify: Verify,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_progress: OnProgress = lambda phase, share: None,
    on_skip: OnSkip = lambda library, reason: None,
) -> tuple[list[Artifact], dict[str, list[Report]]]:
    """Build plans into a bundle's (unfinished) folder, and verify those that fit the GPU here.

    Args:
        models: The bundle's models so far, in its folder.
        request: Which plans to build, with the libraries that :func:`find_builders` returns.
        verify: Returns the reports of a plan that fits the GPU here.
        on_stage: Called with each plan before it is built.
        on_progress: Called with each plan's progress.
        on_skip: Called with each optional plan that cannot be built.

    Returns:
        The new plans, and the reports of each by path. Plans that cannot be built or fail verification are left out.

    Raises:
        EngineError: A required engine cannot be built here.
        VerificationError: A required engine differs by more than its budget.
        ConfigError: Invalid profiles or targets.
    """
    built: list[Artifact] = []
    reports: dict[str, list[Report]] = {}
    sources = choose_models(models, request.precisions)
    for library in request.libraries:
        try:
            for model, targets in itertools.product(sources, request.get_targets(library)):
                on_stage(f"building a {library} engine of {model.artifact.path}")
                options = replace(request.options, targets=targets)
                plan = _build(model, library, options, on_progress)
                name = plan.artifact.path
                reports[name] = []
                if find_runnable(plan):
                    on_stage(f"verifying {name}")
                    reports[name] = summarise(verify(plan))
                    for report in reports[name]:
                        require_passed(report)
                built.append(plan.artifact)
        except (EngineError, VerificationError) as error:
            if request.required:
                raise
            on_skip(library, str(error))
    names = {plan.path for plan in built}
    for name in reports.keys() - names:
        models[0].path.with_name(name).unlink()
        del reports[name]
    return built, reports


def _build(model: Model, library: Library, options: PlanOptions, on_progress: OnProgress) -> Model:
    source, unfinished = model.artifact, model.path.with_name("unfinished.plan")
    details = build_plan(model, unfinished, get_library(library), options, on_progress=on_progress)

    def name_plan(onnx: str) -> str:
        return f"{onnx.removesuffix('.onnx')}.{library}.{'-'.join(details['compute_capabilities'])}.plan"

    if source.io_dtype == "uint8":  # it is verified against its sibling's plan for the same GPUs
        details["float_edges"] = name_plan(source.details["float_edges"])
    plan = model.get_sibling(replace(source, path=name_plan(source.path), kind=library, details=details))
    unfinished.rename(plan.path)
    return plan


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
    """Copy a bundle and add engines to the copy, completely or not at all.

    Args:
        bundle: A checked bundle.
        out: The new bundle's folder; with ``overwrite`` it may be the old one's.
        request: Which engines to build; a plan of the same name is built again.
        overwrite: Replace an existing bundle.
        on_stage: See :func:`build_engines`, also for ``on_progress`` and ``on_skip``.

    Raises:
        BundleError: Not a bundle for inpainting.
        EngineError: A required engine cannot be built here, or none can.
        ConfigError: Invalid profiles, targets or precisions.
        OutputError: ``out`` exists, or cannot be written.
    """
    bundle.require_task(INPAINTING)  # plans are built for its tensors
    manifest = bundle.manifest
    available = {artifact.precision for artifact in manifest.artifacts if artifact.kind == "onnx"}
    for precision in request.precisions:
        if precision not in available:
            raise ConfigError(
                f"{bundle.folder} holds {', '.join(sorted(available))} models, none of {precision}. Export its "
                f"checkpoint in that precision, which needs PyTorch: {bundle.suggest_export(precision)}"
            )
    request = fit_profiles(request, manifest.sizes, manifest.size_multiple)
    request = replace(request, libraries=tuple(find_builders(request, manifest.size_multiple, on_skip)))

    @cache
    def suite() -> Suite:
        return own_suite(bundle.get_model(bundle.find_artifact("onnx", "float32")))

    def verify(plan: Model) -> list[Report]:
        return verify_model(plan, suite()) if can_compare() else []

    with write_folder(out, overwrite=overwrite) as folder:
        for name in manifest.files:
            shutil.copyfile(bundle.folder / name, folder / name)
        built, reports = build_engines(
            [replace(bundle, folder=folder).get_model(artifact) for artifact in manifest.artifacts],
            request,
            verify,
            on_stage=on_stage,
            on_progress=on_progress,
            on_skip=on_skip,
        )
        if not built:
            raise EngineError(f"no engine could be built for {bundle.folder}, so nothing was written.")
        files = contract.describe_files(folder)
        # A former plan is gone if the plan built in its place failed verification.
        former = [artifact for artifact in manifest.artifacts if artifact.path in files.keys() - reports.keys()]
        manifest = replace(
            manifest,
            artifacts=[*former, *built],
            files=files,
            verification={artifact.path: manifest.verification.get(artifact.path, []) for artifact in former} | reports,
        )
        (folder / contract.MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return Bundle(out, manifest)
