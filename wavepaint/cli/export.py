"""wp export: export a checkpoint to a verified bundle, build engines, and make a model for Triton."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from wavepaint.atomic import check_target
from wavepaint.cli.bundle_summary import print_summary
from wavepaint.cli.completion import FILE, FOLDER, PATH, refuse_stream
from wavepaint.cli.export_options import (
    AUTO,
    DEFAULT_BATCHES,
    DEFAULT_SHAPES,
    NONE,
    parse_image_size,
    parse_profiles,
    request_engines,
    request_triton,
)
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.progress import Progress
from wavepaint.contract import PRESETS, IoDtype, Precision, read_bundle
from wavepaint.errors import ConfigError
from wavepaint.export.plans import add_engines
from wavepaint.export.triton_repository import TritonModel, find_artifacts, write_triton_model
from wavepaint.outputs import check_outputs
from wavepaint.runtime.engines.tensorrt.libraries import LIBRARIES
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions

if TYPE_CHECKING:
    from wavepaint.export.fusion.upsampling import Upsampling


@contextmanager
def _choose_folder(out: Path | None) -> Iterator[Path]:
    """Yield the bundle's folder: ``out``, or a temporary one that only the Triton model is made from."""
    if out is not None:
        yield out
    else:
        with TemporaryDirectory(prefix="wavepaint-") as folder:
            yield Path(folder) / "bundle"


def _print_triton_model(model: TritonModel) -> None:
    names = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
    files = ", ".join(artifact.path for artifact in model.artifacts)
    click.echo(
        f"{model.folder}: Triton model for {names[model.backend]}, batches up to {model.max_batch_size}, from {files}\n"
        f"  start Triton with: tritonserver --model-repository={model.folder.parent.resolve()}",
        err=True,
    )


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp export runs/mine/best.pt -o bundles/mine", "Export a trained network; wp infer --bundle runs the result:"),
        ("wp export runs/mine/best.pt -o bundles/mine --fp16", "Add a float16 model, and engines for this GPU:"),
        (
            "wp export bundles/mine -o bundles/rtx --engine tensorrt-rtx",
            "Build a TensorRT-RTX engine from a bundle; needs no PyTorch:",
        ),
        ("wp export runs/mine/best.pt --triton models --name mine", "Make a model for NVIDIA's Triton server:"),
    ],
)
@click.argument("source", type=PATH)
@option_group(
    "Output",
    click.option("-o", "--out", type=FOLDER, help="Folder to write the bundle to. Needed without --triton."),
    click.option(
        "--triton",
        type=FOLDER,
        help="Model repository of NVIDIA's Triton server. The model is added as a folder of its --name: the ONNX file "
        "with bytes in and out, or the plans with --engine tensorrt. Implies --io uint8. With a bundle as SOURCE and "
        "without -o, nothing is built.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an existing bundle or Triton model."),
    click.option(
        "--name",
        metavar="NAME",
        help="Short name in the manifest and in Triton. Default: the name of the bundle's folder; without -o that of "
        "SOURCE.",
    ),
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
    "Classifiers and segmenters",
    click.option(
        "--preprocessing",
        type=click.Choice([*PRESETS]),
        help="What the training did with its images. imagenet, tiny-imagenet, cifar10 and cityscapes normalise and "
        "scale as the authors' programs for these sets; plain does neither. Checkpoints of wp train say it, and others "
        "need this option.",
    ),
    click.option(
        "--image-size",
        metavar="SIZE",
        help="Size in pixels that images are scaled to, one side or WIDTHxHEIGHT. Default: that of --preprocessing.",
    ),
    click.option(
        "--labels",
        type=FILE,
        help="Text file with the names of the classes, one a line. Default: those in the checkpoint, or numbers from "
        "0.",
    ),
    click.option(
        "--stride",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Stride of the first convolutions, where the checkpoint does not show it.",
    ),
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
        callback=refuse_stream,
        help="TensorRT only: file that keeps kernel timings between builds. Default: one in the cache folder.",
    ),
)
def command(
    source: Path,
    out: Path | None,
    triton: Path | None,
    name: str | None,
    fp16: bool,
    bf16: bool,
    io_dtype: IoDtype,
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
    preprocessing: str | None,
    image_size: str | None,
    labels: Path | None,
    stride: int | None,
    overwrite: bool,
) -> None:
    """Export SOURCE to ONNX, verify it against PyTorch, build engines, and write everything as a bundle.

    SOURCE is a checkpoint (.pt, .pth, .ckpt or .safetensors) of an inpainting network, a classifier or a segmenter. It
    may also be a bundle to add engines to, or to make a
    Triton model from, which needs no PyTorch. Engines are built from the models in the precisions of --fp16 and --bf16,
    or else in the bundle's first of float16, bfloat16 and float32.
    """
    if out is None and triton is None:
        raise click.UsageError("Missing option '-o' / '--out' for a bundle, or '--triton' for a Triton model.")
    options = PlanOptions(
        profiles=parse_profiles(shapes, batches),
        workspace_mb=workspace,
        optimization_level=optimization_level,
        timing_cache=timing_cache,
    )
    has_options = any((shapes, batches, sm, workspace is not None, optimization_level is not None, timing_cache))
    is_auto = out is not None and (fp16 or bf16 or source.is_dir())
    request = request_engines(engines, is_auto, sm, options, has_options=has_options)
    half: tuple[tuple[Precision, bool], ...] = (("float16", fp16), ("bfloat16", bf16))
    precisions = tuple(name for name, is_wanted in half if is_wanted)
    if request is not None:
        request = replace(request, precisions=precisions)
    bundle = read_bundle(source) if source.is_dir() else None
    if bundle is not None and out is not None and (request is None or io_dtype != "float32"):
        raise ConfigError(
            f"{source} is a bundle, and only engines can be added to it (--engine). Export its checkpoint instead."
        )
    if bundle is not None and out is None and has_options:
        raise ConfigError(f"{source} is a bundle, and engines that are built from it need a folder (-o).")
    classes = (preprocessing, image_size, labels, stride)
    if bundle is not None and any(option is not None for option in classes):
        raise ConfigError(
            f"{source} is a bundle: --preprocessing, --image-size, --labels and --stride are for checkpoints. Export "
            "its checkpoint instead."
        )
    triton_request = None
    if triton is not None:
        name = name or (bundle.manifest.name if bundle is not None else out.name if out is not None else source.stem)
        triton_request = request_triton(triton, name, engines, precisions, has_out=out is not None)
    adds_to_source = out is not None and source.is_dir() and out.is_dir() and source.samefile(out)
    inputs = [] if adds_to_source else [source, *source.glob("*"), *([labels] if labels is not None else [])]
    outputs = [out, timing_cache, triton_request.folder if triton_request is not None else None]
    check_outputs(inputs, [path for path in outputs if path is not None])
    if triton_request is not None:
        check_target(triton_request.folder, overwrite)
    triton_model = None
    with _choose_folder(out) as folder, Progress(None) as progress:
        callbacks: dict[str, Any] = {
            "overwrite": overwrite,
            "on_stage": lambda stage: progress.print_line(f"{stage} ..."),
            "on_progress": lambda phase, share: progress.describe(f"{phase} {share:.0%}"),
            "on_skip": lambda library, reason: progress.print_line(f"no {library} engine: {reason}"),
        }
        is_new = bundle is None or out is not None
        if bundle is None:
            from wavepaint.export.bundle import ExportOptions, write_bundle
            from wavepaint.export.classes import ClassOptions, read_labels
            from wavepaint.weights.checkpoint import read_checkpoint

            export_options = ExportOptions(
                fusion=fusion,
                upsampling=upsampling,
                precisions=precisions,
                io_dtypes=("uint8" if triton_request is not None else io_dtype,),
                opset=opset,
                engines=request,
                classes=ClassOptions(
                    labels=read_labels(labels) if labels is not None else None,
                    preprocessing=preprocessing,
                    image_size=parse_image_size(image_size),
                ),
            )
            checkpoint = read_checkpoint(source, None if stride is None else {"stride": stride})
            bundle = write_bundle(checkpoint, folder, name=name, options=export_options, **callbacks)
        elif request is not None and out is not None:
            if triton_request is not None:
                find_artifacts(bundle, triton_request, "onnx")  # refused now, not after the build
            bundle = add_engines(bundle, out, request, **callbacks)
        if triton_request is not None:
            triton_model = write_triton_model(bundle, triton_request, overwrite=overwrite)
    if is_new:
        print_summary(bundle, out or source)
    if triton_model is not None:
        _print_triton_model(triton_model)
