"""Build a plan: an ONNX model that TensorRT or TensorRT-RTX compiled for certain GPUs and a range of shapes.

One builder serves ``tensorrt`` 10 and 11 and ``tensorrt_rtx``. Networks are strongly typed, so the precision is the
ONNX file's. The file contains only the plan, so ``trtexec --loadEngine`` can read it. The manifest's entry names the
ONNX file and the GPUs.

Building belongs to the runtime because a plan that does not fit a machine is rebuilt there.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, IoDtype, Model, hash_file
from wavepaint.errors import EngineError
from wavepaint.model_file import check_model_file
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.tensorrt.callbacks import OnProgress, get_logger, make_monitor
from wavepaint.runtime.engines.tensorrt.libraries import CURRENT_GPU, TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.plan import tensor_shape
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.static_graph import read_static


def build_plan(
    model: Model,
    plan_path: Path,
    library: TensorRtLibrary,
    options: PlanOptions,
    *,
    on_progress: OnProgress = lambda phase, share: None,
) -> dict[str, Any]:
    """Build a plan.

    Args:
        model: An ONNX model.
        plan_path: The file to write.
        library: The library that builds the plan.
        options: How to build it.
        on_progress: Called after every step, also from other threads. An exception stops the build.

    Returns:
        Details for the manifest: library and version, compute capabilities, profiles, the ONNX file's name and hash.

    Raises:
        EngineError: The library or the GPU is missing, or the library refuses the model.
        ConfigError: The targets or profiles do not fit the library or the model.
    """
    if model.artifact.io_dtype == "float32":
        for profile in options.profiles:
            profile.require_multiple(model.size_multiple)
    gpus = [gpu.compute_capability for gpu in find_gpus()]
    trt: Any = library.load()
    targets = library.choose_targets(options.targets, gpus)
    logger = get_logger(trt)
    name = f"{library.label} {trt.__version__}"
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # the bindings raise it if the library returns nothing
        raise EngineError(f"{name} does not start: {logger.pop_last_error() or error}.") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    check_model_file(model.path)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(read_static(model.path, extra=library.name)):
        raise EngineError(f"{name} cannot read {model.path.name}: {_describe_errors(parser)}")
    config = _configure(trt, builder, model.artifact.io_dtype, options)
    library.prepare_build(trt, config, targets, options.timing_cache)
    monitor = make_monitor(trt, on_progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    monitor.raise_pending()
    if plan is None:
        raise EngineError(f"{name} cannot build {model.path.name}: {logger.pop_last_error() or 'no reason given'}")
    plan_path.write_bytes(plan)
    library.finish_build(trt, config, options.timing_cache)
    is_for_this_gpu = targets in ((), (CURRENT_GPU,))
    return {
        "library": library.name,
        "library_version": trt.__version__,
        "compute_capabilities": gpus[:1] if is_for_this_gpu else list(targets),
        "ahead_of_time": not is_for_this_gpu,
        "profiles": [{key: list(shape) for key, shape in asdict(profile).items()} for profile in options.profiles],
        "workspace_mb": options.workspace_mb,
        "optimization_level": options.optimization_level,
        "onnx": model.artifact.path,
        "onnx_sha256": hash_file(model.path),
    }


def _configure(trt: Any, builder: Any, io_dtype: IoDtype, options: PlanOptions) -> Any:
    config = builder.create_builder_config()
    # TensorFloat-32 rounds float32 to ten bits before every product. The float32 model is verified without it.
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
    for name in (INPUT_IMAGE, INPUT_MASK):
        added.set_shape(name, *(tensor_shape(name, size, io_dtype) for size in (profile.min, profile.opt, profile.max)))
    config.add_optimization_profile(added)


def _describe_errors(parser: Any) -> str:
    """Return the parser's errors, with the names of the nodes."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    lines = [
        f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}" if error.node_name() else error.desc()
        for error in errors
    ]
    return "; ".join(dict.fromkeys(lines)) or "no reason given"
