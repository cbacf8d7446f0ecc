"""Plans: an ONNX model built by TensorRT or TensorRT-RTX for certain GPUs and a range of shapes.

One builder serves ``tensorrt`` 10 and 11 and ``tensorrt_rtx``: networks are strongly typed, so the precision is the
ONNX file's. TensorRT needs the GPU it builds for; TensorRT-RTX also builds ahead of time, without any GPU. A plan is
written plain, as ``trtexec --loadEngine`` reads it; what it was built from and for stands in the manifest's entry.

It lives in the runtime because a plan that does not fit a machine is rebuilt where it runs.
"""

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from wavepaint.atomic import write_file
from wavepaint.cache import cache_folder
from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, Artifact, IoDtype, hash_file
from wavepaint.errors import ConfigError, EngineError, OutputError, WavePaintWarning
from wavepaint.model_file import check_model_file
from wavepaint.optional import require
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.tensorrt.callbacks import OnProgress, get_logger, make_monitor

Library = Literal["tensorrt", "tensorrt-rtx"]
LIBRARIES: tuple[Library, ...] = get_args(Library)

PlanPolicy = Literal["build", "cached", "refuse"]
"""What to do where a bundle has no plan that fits this machine: take the one that was built here before, or build it,
which can take minutes; take only one built before; or take none."""

MAX_OPTIMIZATION_LEVEL = 5
LARGEST_SIDE = 16_384

ANY_GPU, GPU_AT_HAND = "any", "current"
"""Targets of TensorRT-RTX beside compute capabilities: every GPU that it supports from Ampere on, also those that it
has no name for, and the one at hand alone."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A range of shapes a plan serves: (batch, height, width) at least, at best and at most.

    Raises:
        ConfigError: The three are not in order, or not positive.
    """

    min: tuple[int, int, int] = (1, 64, 64)
    opt: tuple[int, int, int] = (1, 512, 512)
    max: tuple[int, int, int] = (4, 1024, 1024)

    def __post_init__(self) -> None:
        for name, low, best, high in zip(("batch", "height", "width"), self.min, self.opt, self.max, strict=True):
            if not 1 <= low <= best <= high:
                raise ConfigError(
                    f"a profile's {name} is {low}, {best}, {high}: expected min <= opt <= max, all 1 or more "
                    "(--shapes, --batches)."
                )
        if max(self.max[1:]) > LARGEST_SIDE:
            raise ConfigError(
                f"a profile reaches {max(self.max[1:])} pixels: expected {LARGEST_SIDE} at most (--shapes)."
            )

    def holds(self, size: tuple[int, int, int]) -> bool:
        """Return whether a (batch, height, width) lies in the range."""
        return all(low <= side <= high for low, side, high in zip(self.min, size, self.max, strict=True))

    def require_multiple(self, size_multiple: int) -> None:
        """Raise unless every side is a multiple.

        Raises:
            ConfigError: Naming the side and its neighbours.
        """
        for side in (*self.min[1:], *self.opt[1:], *self.max[1:]):
            if side % size_multiple:
                lower = side // size_multiple * size_multiple
                raise ConfigError(
                    f"a profile's side is {side}, and this model takes multiples of {size_multiple}, such as "
                    f"{f'{lower} or ' if lower else ''}{lower + size_multiple} (--shapes)."
                )


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How to build.

    Attributes:
        profiles: Ranges of shapes, one or more.
        targets: Compute capabilities such as "sm86", for a plan built ahead of time, or :data:`ANY_GPU`. Empty: the GPU
            at hand, or :data:`ANY_GPU` where there is none, or none that the library has a name for.
        workspace_mb: Most device memory a layer may use as scratch, in MiB; None leaves it to the library.
        optimization_level: 0 (fast build) to 5 (fast engine); None leaves it to the library.
        timing_cache: File that keeps the measured kernels between builds (TensorRT only); None takes one for each
            version of TensorRT in :func:`cache_folder`.

    Raises:
        ConfigError: A value makes no sense.
    """

    profiles: tuple[Profile, ...] = (Profile(),)
    targets: tuple[str, ...] = ()
    workspace_mb: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        if not self.profiles:
            raise ConfigError("a plan needs at least one profile (--shapes).")
        if len(set(self.targets)) != len(self.targets):
            raise ConfigError(f"the targets {', '.join(self.targets)} name one twice (--sm).")
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise ConfigError(f"the workspace is {self.workspace_mb} MiB: expected 1 or more (--workspace).")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= MAX_OPTIMIZATION_LEVEL:
            raise ConfigError(
                f"the optimization level is {self.optimization_level}: expected 0 to {MAX_OPTIMIZATION_LEVEL} "
                "(--optimization-level)."
            )


def name_library(library: Library, version: str) -> str:
    """Return a library's name and version for people."""
    return f"{'TensorRT' if library == 'tensorrt' else 'TensorRT-RTX'} {version}"


def load_library(library: Library) -> ModuleType:
    """Import TensorRT or TensorRT-RTX.

    Raises:
        EngineError: It is not installed, does not load, or is too old.
    """
    trt = require("tensorrt" if library == "tensorrt" else "tensorrt_rtx", extra=library)
    if library == "tensorrt" and int(trt.__version__.split(".")[0]) < 10:
        raise EngineError(
            f"TensorRT {trt.__version__} knows no strongly typed networks; expected 10 or newer. "
            'Install it with: pip install "wavepaint[tensorrt]"'
        )
    return trt


def choose_targets(library: Library, targets: tuple[str, ...], gpus: list[str]) -> tuple[str, ...]:
    """Return what TensorRT-RTX shall build a plan for; empty for TensorRT, which builds for the GPU at hand.

    Raises:
        EngineError: The library can build only for a GPU that is not here.
        ConfigError: Targets the library does not know.
    """
    if library == "tensorrt":
        if targets:
            raise ConfigError("TensorRT builds for the GPU at hand alone; --sm is for --engine tensorrt-rtx.")
        if not gpus:
            raise EngineError(
                "TensorRT needs the NVIDIA GPU it builds for, and no driver or GPU was found here. Build on the "
                "machine that will run the engine, or ahead of time with --engine tensorrt-rtx."
            )
        return ()
    known = [name for name in vars(load_library(library).ComputeCapability) if name.startswith("SM")]
    if targets in ((ANY_GPU,), (GPU_AT_HAND,)):
        return targets
    for target in targets:
        if target.upper() not in known:
            raise ConfigError(
                f"unknown target {target!r}: TensorRT-RTX builds for {', '.join(name[2:] for name in known)}, or for "
                f"{ANY_GPU} by itself (--sm)."
            )
    return targets or ((GPU_AT_HAND,) if gpus and gpus[0].upper() in known else (ANY_GPU,))


def serves(details: dict[str, Any], capability: str) -> bool:
    """Return whether a plan, by the manifest's details of it, is for GPUs of a compute capability such as "sm90"."""
    return not {capability, ANY_GPU}.isdisjoint(details.get("compute_capabilities") or ())


def build_plan(
    onnx_path: Path,
    plan_path: Path,
    artifact: Artifact,
    size_multiple: int,
    library: Library,
    options: PlanOptions,
    *,
    on_progress: OnProgress = lambda phase, share: None,
) -> dict[str, Any]:
    """Build a plan.

    Args:
        onnx_path: The ONNX model.
        plan_path: The file to write.
        artifact: What the manifest says of the ONNX model.
        size_multiple: The manifest's.
        library: Who builds.
        options: How.
        on_progress: Told of every step; it may be called from other threads. If it raises, the build is given up.

    Returns:
        Details for the manifest: library and version, compute capabilities, profiles, the ONNX file's name and hash.

    Raises:
        EngineError: The library is missing, there is no GPU, or it refuses the model.
        ConfigError: Targets or profiles that make no sense for the library or the model.
    """
    if artifact.io_dtype == "float32":
        for profile in options.profiles:
            profile.require_multiple(size_multiple)
    gpus = [gpu.compute_capability for gpu in find_gpus()]
    trt = load_library(library)
    targets = choose_targets(library, options.targets, gpus)
    logger = get_logger(trt)
    name = name_library(library, trt.__version__)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what the bindings raise where the library returns nothing
        raise EngineError(f"{name} does not start: {logger.last_error() or error}.") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    check_model_file(onnx_path)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineError(f"{name} cannot read {onnx_path.name}: {_parser_errors(parser)}")
    config = _configure(trt, builder, artifact.io_dtype, options)
    if library == "tensorrt-rtx":
        _set_targets(trt, config, targets)
        # Scratch memory is given by sessions in any case; what would take its own could not be captured.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    cache: Path | None = None
    if library == "tensorrt":  # TensorRT-RTX times nothing before it runs
        cache = options.timing_cache or cache_folder() / f"tensorrt-{trt.__version__}.timing"
        _use_timing_cache(config, cache, is_chosen=options.timing_cache is not None)
    monitor = make_monitor(trt, on_progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    monitor.raise_pending()
    if plan is None:
        raise EngineError(f"{name} cannot build {onnx_path.name}: {logger.last_error() or 'no reason given'}")
    plan_path.write_bytes(plan)
    if cache is not None:
        _keep_timing_cache(config, cache)
    return {
        "library": library,
        "library_version": trt.__version__,
        "compute_capabilities": gpus[:1] if targets in ((), (GPU_AT_HAND,)) else list(targets),
        "ahead_of_time": targets not in ((), (GPU_AT_HAND,)),
        "profiles": [{key: list(shape) for key, shape in asdict(profile).items()} for profile in options.profiles],
        "workspace_mb": options.workspace_mb,
        "optimization_level": options.optimization_level,
        "onnx": artifact.path,
        "onnx_sha256": hash_file(onnx_path),
    }


def _set_targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    if targets == (ANY_GPU,):  # which is what it builds for unless it is told
        return
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)


def _configure(trt: Any, builder: Any, io_dtype: IoDtype, options: PlanOptions) -> Any:
    config = builder.create_builder_config()
    # It would round float32 to ten bits before every product, which is not what a float32 model is verified as.
    config.clear_flag(trt.BuilderFlag.TF32)
    resize = getattr(trt.PreviewFeature, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
    if resize is not None:  # scratch memory for the size that runs, not for the profile's largest
        config.set_preview_feature(resize, True)
    for profile in options.profiles:
        _add_profile(builder, config, profile, io_dtype)
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    return config


def _add_profile(builder: Any, config: Any, profile: Profile, io_dtype: IoDtype) -> None:
    added = builder.create_optimization_profile()
    for name, channels in ((INPUT_IMAGE, IMAGE_CHANNELS), (INPUT_MASK, 1)):
        shapes = [
            (batch, channels, height, width) if io_dtype == "float32" else (batch, height, width, channels)
            for batch, height, width in (profile.min, profile.opt, profile.max)
        ]
        added.set_shape(name, *shapes)
    config.add_optimization_profile(added)


def _use_timing_cache(config: Any, path: Path, *, is_chosen: bool) -> None:
    """Start from the kernels measured before; from none if there are none, or if they are of another GPU or version."""
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = b""
    except OSError as error:
        if is_chosen:
            raise EngineError(f"the timing cache {path} cannot be read: {error.strerror or error}.") from error
        kept = b""  # a cache folder that cannot be used is told of when the new kernels are to be kept
    for content in (kept, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _keep_timing_cache(config: Any, path: Path) -> None:
    """Keep the measured kernels; a plan is not given up because they cannot be kept."""
    try:
        with write_file(path, overwrite=True) as temporary:
            temporary.write_bytes(config.get_timing_cache().serialize())
    except OutputError as error:
        warnings.warn(f"the next build will be as slow as this one: {error}", WavePaintWarning, stacklevel=3)


def _parser_errors(parser: Any) -> str:
    """Return what the parser refused, with the nodes' names."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = [
        f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}" if error.node_name() else error.desc()
        for error in errors
    ]
    return "; ".join(dict.fromkeys(told)) or "no reason given"
