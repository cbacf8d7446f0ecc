"""wp import: a network of another project as a bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wavepaint.atomic import check_target
from wavepaint.cli.bundle_summary import print_summary
from wavepaint.cli.completion import FILE, FOLDER, PATH
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.progress import Progress
from wavepaint.contract import IoDtype
from wavepaint.errors import ConfigError
from wavepaint.export.foreign.description import KEEP, PRESETS, make_description, read_description
from wavepaint.optional import require
from wavepaint.outputs import check_outputs


def _parse_pair(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not two numbers, such as 0,255.") from None
    return first, second


def _parse_size(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Return (height, width)."""
    if text is None:
        return None
    width, _, height = text.partition("x")
    try:
        return int(height or width), int(width)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a size in pixels, such as 512 or 768x512.") from None


def _parse_hole(context: click.Context, parameter: click.Parameter, text: str | None) -> float | str | None:
    if text is None or text == KEEP:
        return text
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor {KEEP}.") from None


def _parse_inputs(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, float | str] | None:
    inputs: dict[str, float | str] = {}
    for text in texts:
        name, separator, value = text.rpartition("=")
        if not separator or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as z=noise or psi=0.7.")
        try:
            inputs[name] = float(value)
        except ValueError:
            inputs[name] = value
    return inputs or None


def _range_option(flag: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(flag, metavar=metavar, callback=_parse_pair, help=text)


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp import lama_fp32.onnx -o bundles/lama --preset lama", "Import LaMa from huggingface.co/Carve/LaMa-ONNX:"),
        ("wp import model.onnx -o bundles/mine", "Say what the file has, and what would fit; nothing is written:"),
        (
            "wp import model.onnx -o bundles/mine --preset lama --result-range 0,1 --fp16",
            "Change one point of a preset, and add a float16 model:",
        ),
    ],
)
@click.argument("model", type=FILE)
@option_group(
    "Output",
    click.option("-o", "--out", type=FOLDER, required=True, help="Folder to write the bundle to."),
    click.option("--name", metavar="NAME", help="Short name in the manifest. Default: the name of the folder."),
    click.option("--fp16", is_flag=True, help="Add a float16 model. Parts that need more precision stay in float32."),
    click.option(
        "--io",
        "io_dtype",
        type=click.Choice(["float32", "uint8"]),
        default="float32",
        show_default=True,
        help="uint8: add models that take and return bytes, and pad small images themselves.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an existing bundle."),
)
@option_group(
    "Description",
    click.option(
        "--preset",
        type=click.Choice([*PRESETS]),
        help="Description of a common file. The options below and --description replace parts of it.",
    ),
    click.option(
        "--description",
        type=PATH,
        help="TOML file with the fields of a description, or the bundle of an earlier import, whose description is "
        "taken. The options below replace parts of it.",
    ),
    click.option("--image", metavar="NAME", help="Input for the image. Default: image."),
    click.option(
        "--mask",
        metavar="NAME",
        help="Input for the mask; that of --image if both are channels of one input. Default: mask.",
    ),
    click.option("--result", metavar="NAME", help="Output with the result. Default: output."),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_parse_inputs,
        help="Value of a further input: a number, noise, or noise:SEED. Repeatable; replaces all of a preset's.",
    ),
)
@option_group(
    "Tensors",
    click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Order of the axes. Default: NCHW."),
    click.option("--colour", type=click.Choice(["RGB", "BGR"]), help="Order of the colours. Default: RGB."),
    _range_option("--image-range", "BLACK,WHITE", "Values of black and white in the image. Default: 0,1."),
    _range_option("--mask-values", "KNOWN,HOLE", "Values of known pixels and of the hole in the mask. Default: 0,1."),
    click.option(
        "--mask-first/--mask-last", default=None, help="Place of the mask in one input of four channels. Default: last."
    ),
    click.option(
        "--hole",
        metavar="VALUE",
        callback=_parse_hole,
        help="Value of the image inside the hole, in the range of --image-range; keep leaves the photo there. Default: "
        "keep.",
    ),
    _range_option("--result-range", "BLACK,WHITE", "Values of black and white in the result. Default: 0,1."),
    click.option(
        "--composition",
        type=click.Choice(["inside", "outside"]),
        help="inside: the result contains the known pixels. outside: it is a prediction of the whole image. Known "
        "pixels are put back in both cases. Default: outside.",
    ),
)
@option_group(
    "Sizes",
    click.option(
        "--size",
        metavar="SIZE",
        callback=_parse_size,
        help="The only size that the network takes, one side in pixels or WIDTHxHEIGHT. Default: what the file says.",
    ),
    click.option("--multiple", type=int, metavar="PIXELS", help="Sides must be multiples of this. Default: 1."),
    click.option("--min-side", type=int, metavar="PIXELS", help="Smallest side. Default: 64."),
    click.option("--max-batch", type=int, metavar="NUMBER", help="Most images at once. Default: what the file says."),
    click.option(
        "--crop-size",
        type=int,
        metavar="PIXELS",
        help="Side of the training images. Holes thicker than two thirds of it are filled at a lower resolution. "
        "Default: unknown, taken as 256.",
    ),
)
def command(
    model: Path,
    out: Path,
    name: str | None,
    fp16: bool,
    io_dtype: IoDtype,
    overwrite: bool,
    preset: str | None,
    description: Path | None,
    size: tuple[int, int] | None,
    mask_first: bool | None,
    image_range: tuple[float, float] | None,
    mask_values: tuple[float, float] | None,
    result_range: tuple[float, float] | None,
    inputs: dict[str, float | str] | None,
    **fields: Any,
) -> None:
    """Import MODEL, the ONNX file of an inpainting network of another project, as a bundle like any other.

    The bundle runs in wp infer, wp serve, wp bench and every other command. MODEL needs a description: a preset, a
    file, options, or a mixture of them. What the file has is checked before anything runs. The bundle is compared with
    the untouched file in ONNX Runtime; if it differs, nothing is written.
    """
    for module in ("onnx", "onnxruntime"):
        require(module, extra="import")
    values = dict(read_description(description)) if description is not None else {}
    chosen = {
        **fields,
        "mask_first": mask_first,
        "image_range": image_range,
        "mask_values": mask_values,
        "result_range": result_range,
        "inputs": inputs,
        "height": size and size[0],
        "width": size and size[1],
    }
    values |= {field: value for field, value in chosen.items() if value is not None}
    check_outputs([model, *([description] if description is not None else [])], [out])
    check_target(out, overwrite)
    from wavepaint.export.foreign.importing import ImportOptions, import_network
    from wavepaint.export.foreign.inspection import read_foreign
    from wavepaint.export.foreign.matching import suggest

    described = make_description(preset, values)
    foreign = read_foreign(model)
    if preset is None and not values:
        raise ConfigError(f"{foreign.describe()}. It needs a description. {suggest(foreign)}")
    options = ImportOptions(fp16=fp16, io_dtypes=("uint8",) if io_dtype == "uint8" else ())
    with Progress(None) as progress:
        bundle = import_network(
            foreign,
            described,
            out,
            name=name,
            options=options,
            overwrite=overwrite,
            on_stage=lambda stage: progress.print_line(f"{stage} ..."),
        )
    print_summary(bundle, out)
