"""wp export: export a checkpoint to a verified bundle, and build engines."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from wavepaint.cli.completion import FOLDER, PATH
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.progress import Progress
from wavepaint.contract import Bundle, IoDtype, Precision, read_bundle
from wavepaint.errors import ConfigError
from wavepaint.export.plans import EngineRequest, add_engines
from wavepaint.export.verify import describe_report
from wavepaint.outputs import check_outputs
from wavepaint.runtime.engines.registry import find_obstacle
from wavepaint.runtime.engines.tensorrt.library import ANY_GPU, LIBRARIES, Library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

if TYPE_CHECKING:
    from wavepaint.export.fusion.upsampling import Upsampling

AUTO, NONE = "auto", "none"
DEFAULT_SHAPES, DEFAULT_BATCHES = "64,512,1024", "1,1,4"


def _parse_triple(text: str, option: str, parse: Callable[[str], Any]) -> tuple[Any, Any, Any]:
    try:
        low, best, high = (parse(part.strip()) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not min,opt,max, such as {DEFAULT_SHAPES if option == '--shapes' else DEFAULT_BATCHES}",
            param_hint=option,
        ) from None
    return low, best, high


def _parse_size(text: str) -> tuple[int, int]:
    """Parse SIDE or WIDTHxHEIGHT; return (height, width)."""
    width, _, height = text.partition("x")
    return int(height or width), int(width)


def _parse_profiles(shapes: tuple[str, ...], batches: tuple[str, ...]) -> tuple[Profile, ...]:
    shapes, batches = shapes or (DEFAULT_SHAPES,), batches or (DEFAULT_BATCHES,)
    if len(batches) not in (1, len(shapes)):
        raise ConfigError(
            f"there are {len(shapes)} --shapes and {len(batches)} --batches: expected one --batches, or one for each."
        )
    if len(batches) == 1:
        batches *= len(shapes)
    profiles = []
    for shape, batch in zip(shapes, batches, strict=True):
        sizes = _parse_triple(shape, "--shapes", _parse_size)
        low, best, high = ((n, *size) for n, size in zip(_parse_triple(batch, "--batches", int), sizes, strict=True))
        profiles.append(Profile(min=low, opt=best, max=high))
    return tuple(profiles)


def _parse_targets(groups: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    def parse(part: str) -> str:
        return part if part == ANY_GPU else f"sm{part.removeprefix('sm')}"

    return tuple(tuple(parse(part.strip()) for part in group.split(",")) for group in groups) or ((),)


def _request_engines(
    engines: tuple[str, ...], is_auto: bool, sm: tuple[str, ...], options: PlanOptions, *, has_options: bool
) -> EngineRequest | None:
    """Return the engines to build, if any; without --engine, ``is_auto`` requests those that this machine can build."""
    if len(engines) > 1 and (AUTO in engines or NONE in engines):
        raise ConfigError(
            f"--engine {AUTO} and --engine {NONE} cannot be combined with other engines. Name the libraries instead."
        )
    if engines == (NONE,) or (not engines and not is_auto):
        if has_options:
            raise ConfigError(
                "--shapes, --batches, --sm, --workspace, --optimization-level and --timing-cache need an --engine."
            )
        return None
    explicit = tuple(cast(Library, engine) for engine in dict.fromkeys(engines) if engine != AUTO)
    return EngineRequest(
        libraries=explicit or LIBRARIES, required=bool(explicit), target_groups=_parse_targets(sm), options=options
    )


def _print_summary(bundle: Bundle, out: Path) -> None:
    manifest = bundle.manifest
    click.echo(f"{out}: {manifest.architecture}, {manifest.num_parameters / 1e6:.2f} M parameters", err=True)
    for artifact in manifest.artifacts:
        size = manifest.files[artifact.path]["bytes"] / 1e6
        kept = artifact.details.get("kept_float32")
        click.echo(
            f"  {artifact.path}: {artifact.kind} {artifact.precision}, {size:.1f} MB"
            + (f"; kept in float32: {', '.join(kept)}" if kept else ""),
            err=True,
        )
        reports = manifest.verification.get(artifact.path, [])
        for report in reports:
            click.echo(f"    {describe_report(report)}", err=True)
        if not reports:
            obstacle = find_obstacle(bundle.get_model(artifact))
            click.echo(f"    not verified: {obstacle or 'run wp verify'}", err=True)


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp export runs/mine/best.pt -o bundles/mine", "Export a trained network; wp infer --bundle runs the result:"),
        ("wp export runs/mine/best.pt -o bundles/mine --fp16", "Add a float16 model, and engines for this GPU:"),
        (
            "wp export bundles/mine -o bundles/rtx --engine tensorrt-rtx",
            "Build a TensorRT-RTX engine from a bundle; needs no PyTorch:",
        ),
    ],
)
@click.argument("source", type=PATH)
@option_group(
    "Bundle",
    click.option("-o", "--out", required=True, type=FOLDER, help="Folder to write the bundle to."),
    click.option("--overwrite", is_flag=True, help="Replace an existing bundle."),
    click.option("--name", metavar="NAME", help="Short name in the manifest. Default: the folder's name."),
)
@option_group(
    "ONNX models",
    click.option(
        "--fp16",
        is_flag=True,
        help="Add a float16 model and its engines. Layers that need more precision stay in float32.",
    ),
    click.option("--bf16", is_flag=True, help="Add a bfloat16 model and its engines in the same way."),
    click.option(
        "--io",
        "io_dtype",
        type=click.Choice(["float32", "uint8"]),
        default="float32",
        show_default=True,
        help="uint8: add models that take and return bytes, at any image size, and do all the padding and rounding "
        "themselves. Use them from other languages.",
    ),
    click.option(
        "--fusion/--no-fusion",
        default=True,
        show_default=True,
        help="Rewrite the network into an equivalent one that costs less. --no-fusion is for comparisons.",
    ),
    click.option(
        "--upsampling",
        type=click.Choice(["phases", "transposed"]),
        help="How the network's blocks upsample; both give the same values. phases is faster in ONNX Runtime, "
        "transposed in OpenVINO. Default: the fastest for each precision.",
    ),
    click.option("--opset", type=int, metavar="VERSION", help="ONNX opset, 18 to 23. Default: 20; 22 for bfloat16."),
)
@option_group(
    "TensorRT engines",
    click.option(
        "--engine",
        "engines",
        multiple=True,
        type=click.Choice([AUTO, NONE, *LIBRARIES]),
        help="Engine to build; repeatable. auto: every engine that this machine can build. Default: auto with --fp16, "
        "--bf16 or a bundle as SOURCE, else none.",
    ),
    click.option(
        "--shapes",
        multiple=True,
        metavar="MIN,OPT,MAX",
        help="Smallest size, size to optimize for (OPT), and largest size that the engine accepts: sides in pixels, or "
        f"WIDTHxHEIGHT. Repeat it for more profiles. Default: {DEFAULT_SHAPES}.",
    ),
    click.option(
        "--batches",
        multiple=True,
        metavar="MIN,OPT,MAX",
        help="Smallest batch, batch to optimize for (OPT), and largest batch that the engine accepts. Give one for all "
        f"--shapes or one for each. Default: {DEFAULT_BATCHES}.",
    ),
    click.option(
        "--sm",
        multiple=True,
        metavar="LIST",
        help="TensorRT-RTX only: compute capabilities of the GPUs to build for ahead of time, such as 86,89, or any; "
        "repeatable. Default: this machine's GPU; any if it has none.",
    ),
    click.option(
        "--workspace",
        type=int,
        metavar="MIB",
        help="Limit of a layer's scratch memory on the GPU. Default: the library's choice.",
    ),
    click.option(
        "--optimization-level",
        type=int,
        metavar="LEVEL",
        help="Effort of the build, from 0 (fast build) to 5 (fast engine). Default: the library's choice.",
    ),
    click.option(
        "--timing-cache",
        type=click.Path(path_type=Path, dir_okay=False),
        help="TensorRT only: file that keeps kernel timings between builds. Default: one in the cache folder.",
    ),
)
def command(
    source: Path,
    out: Path,
    name: str | None,
    fp16: bool,
    bf16: bool,
    io_dtype: str,
    fusion: bool,
    upsampling: "Upsampling | None",
    opset: int | None,
    engines: tuple[str, ...],
    shapes: tuple[str, ...],
    batches: tuple[str, ...],
    sm: tuple[str, ...],
    workspace: int | None,
    optimization_level: int | None,
    timing_cache: Path | None,
    overwrite: bool,
) -> None:
    """Export SOURCE to ONNX, verify it against PyTorch, build engines, and write everything as a bundle.

    SOURCE is a checkpoint (.pt, .pth, .ckpt or .safetensors). It may also be a bundle to add engines to, which needs no
    PyTorch. Engines are built from the models in the precisions of --fp16 and --bf16, or else in the bundle's first of
    float16, bfloat16 and float32.
    """
    options = PlanOptions(
        profiles=_parse_profiles(shapes, batches),
        workspace_mb=workspace,
        optimization_level=optimization_level,
        timing_cache=timing_cache,
    )
    has_options = any((shapes, batches, sm, workspace is not None, optimization_level is not None, timing_cache))
    request = _request_engines(engines, fp16 or bf16 or source.is_dir(), sm, options, has_options=has_options)
    half: tuple[tuple[Precision, bool], ...] = (("float16", fp16), ("bfloat16", bf16))
    precisions = tuple(name for name, is_wanted in half if is_wanted)
    if request is not None:
        request = replace(request, precisions=precisions)
    adds_to_source = source.is_dir() and out.is_dir() and source.samefile(out)
    inputs = [] if adds_to_source else [source, *source.glob("*")]
    check_outputs(inputs, [out, *([timing_cache] if timing_cache is not None else [])])
    if source.is_dir() and (request is None or io_dtype != "float32"):
        raise ConfigError(
            f"{source} is a bundle, and only engines can be added to it (--engine). Export its checkpoint instead."
        )
    with Progress(None) as progress:
        callbacks: dict[str, Any] = {
            "overwrite": overwrite,
            "on_stage": lambda stage: progress.print_line(f"{stage} ..."),
            "on_progress": lambda phase, share: progress.describe(f"{phase} {share:.0%}"),
            "on_skip": lambda library, reason: progress.print_line(f"no {library} engine: {reason}"),
        }
        if request is not None and source.is_dir():
            bundle = add_engines(read_bundle(source), out, request, **callbacks)
        else:
            from wavepaint.export.bundle import ExportOptions, write_bundle
            from wavepaint.weights.checkpoint import read_checkpoint

            export_options = ExportOptions(
                fusion=fusion,
                upsampling=upsampling,
                precisions=precisions,
                io_dtypes=(cast(IoDtype, io_dtype),),
                opset=opset,
                engines=request,
            )
            bundle = write_bundle(read_checkpoint(source), out, name=name, options=export_options, **callbacks)
    _print_summary(bundle, out)
