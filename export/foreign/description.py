"""What an inpainting network of another project takes and returns, and presets for common files."""

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from wavepaint.arguments import check_choice, check_int
from wavepaint.contract import read_bundle
from wavepaint.errors import ConfigError, printable

Layout = Literal["NCHW", "NHWC"]
Colour = Literal["RGB", "BGR"]
Composition = Literal["inside", "outside"]
Range = tuple[float, float]

_CHOICES: dict[str, tuple[str, ...]] = {
    "layout": get_args(Layout),
    "colour": get_args(Colour),
    "composition": get_args(Composition),
}

NOISE = "noise"
"""Value of a further input: normal noise. ``noise:7`` names its seed, which is 0 by default."""

KEEP = "keep"
"""Value of ``hole`` in a file that leaves the image as it is, if a preset says otherwise."""

MAX_SIDE = 16_384
MAX_BATCH = 1_024


@dataclass(frozen=True, kw_only=True)
class Description:
    """The layout of a network's tensors.

    Attributes:
        image: Name of the input for the image.
        mask: Name of the input for the mask. If it is that of the image, both are the channels of one input.
        result: Name of the output.
        layout: Axes of image, mask and result.
        colour: Order of the colours.
        image_range: Values of black and of white in the image.
        mask_values: Values of known pixels and of the hole in the mask.
        mask_first: Whether the mask is the first of four channels, if both share an input.
        hole: Value of the image inside the hole, in the network's range; None leaves what is there, for networks that
            hide it themselves.
        result_range: Values of black and of white in the result.
        composition: "inside" if the result contains the known pixels. "outside" if it is the network's prediction of
            the whole image. Known pixels are put back in both cases.
        height: Height in pixels if the network takes no other; None for what the file says.
        width: Width in pixels, likewise.
        multiple: Height and width must be multiples of this.
        min_side: Smallest side in pixels. Smaller patches are padded.
        max_batch: Most images in a batch; None for what the file says.
        crop_size: Side in pixels of the training images; None if unknown. Much thicker holes are filled at a lower
            resolution.
        inputs: Further inputs: a number, or :data:`NOISE`.

    Raises:
        ConfigError: A value is out of range.
    """

    image: str = "image"
    mask: str = "mask"
    result: str = "output"
    layout: Layout = "NCHW"
    colour: Colour = "RGB"
    image_range: Range = (0.0, 1.0)
    mask_values: Range = (0.0, 1.0)
    mask_first: bool = False
    hole: float | None = None
    result_range: Range = (0.0, 1.0)
    composition: Composition = "outside"
    height: int | None = None
    width: int | None = None
    multiple: int = 1
    min_side: int = 64
    max_batch: int | None = None
    crop_size: int | None = None
    inputs: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices, flag=f"--{name}")
        for name, limit in (("height", MAX_SIDE), ("width", MAX_SIDE), ("max_batch", MAX_BATCH)):
            if (value := getattr(self, name)) is not None:
                check_int(name, value, 1, limit, flag="--max-batch" if name == "max_batch" else "--size")
        check_int("multiple", self.multiple, 1, 4096, flag="--multiple")
        check_int("min_side", self.min_side, 1, MAX_SIDE, unit="pixels", flag="--min-side")
        if self.crop_size is not None:
            check_int("crop_size", self.crop_size, 1, MAX_SIDE, unit="pixels", flag="--crop-size")
        self._check_values()
        for name, value in self.inputs.items():
            read_input(name, value)

    def _check_values(self) -> None:
        numbers = (
            *self.image_range,
            *self.mask_values,
            *self.result_range,
            *([] if self.hole is None else [self.hole]),
        )
        if not all(map(math.isfinite, numbers)):
            raise ConfigError(
                "a range or a value is not a finite number (--image-range, --mask-values, --result-range)."
            )
        for flag, (low, high) in (("--image-range", self.image_range), ("--result-range", self.result_range)):
            if not low < high:
                raise ConfigError(f"black is {low:g} and white is {high:g}: expected black below white ({flag}).")
        if self.mask_values[0] == self.mask_values[1]:
            raise ConfigError(
                f"known pixels and the hole are both {self.mask_values[0]:g} in the mask: expected two values "
                "(--mask-values)."
            )

    @property
    def is_joint(self) -> bool:
        """Whether image and mask are the channels of one input."""
        return self.image == self.mask


def read_input(name: str, value: float | str) -> float | int:
    """Return the number that a further input is filled with, or as an integer the seed of its noise.

    Raises:
        ConfigError: Neither a finite number nor noise.
    """
    if isinstance(value, str):
        kind, _, seed = value.partition(":")
        if kind == NOISE and (not seed or seed.isdecimal()):
            return int(seed or 0)
    elif math.isfinite(value):
        return float(value)
    raise ConfigError(f"the input {name!r} would be {value!r}: expected a number, {NOISE}, or {NOISE}:SEED (--input).")


PRESETS: dict[str, Description] = {
    "lama": Description(result_range=(0.0, 255.0), composition="inside", multiple=8, crop_size=512),
    "lama-4-channels": Description(image="input", mask="input", hole=0.0, multiple=32, crop_size=512),
    "migan": Description(
        result="result",
        image_range=(0.0, 255.0),
        mask_values=(255.0, 0.0),
        result_range=(0.0, 255.0),
        composition="inside",
        max_batch=1,
        crop_size=512,
    ),
    "migan-generator": Description(
        image="input",
        mask="input",
        image_range=(-1.0, 1.0),
        mask_values=(0.5, -0.5),
        mask_first=True,
        hole=0.0,
        result_range=(-1.0, 1.0),
        crop_size=512,
    ),
    "comodgan": Description(
        image_range=(-1.0, 1.0),
        mask_values=(1.0, 0.0),
        result_range=(-1.0, 1.0),
        composition="inside",
        crop_size=512,
        inputs={"z": NOISE},
    ),
}
"""Descriptions of common files.

``lama``: ``lama_fp32.onnx`` of huggingface.co/Carve/LaMa-ONNX, fixed at 512x512. It returns levels up to 255.
``lama-4-channels``: ``lama.onnx`` of huggingface.co/g-ronimo/lama; its model card states the layout.
``migan``: ``migan_pipeline_v2.onnx`` of huggingface.co/andraniksargsyan/migan, made by
``scripts/create_onnx_pipeline.py`` of github.com/Picsart-AI-Research/MI-GAN: bytes, 255 is known, any size, one image.
``migan-generator``: ``migan.onnx`` of ``scripts/export_inference_model.py`` there: the mask less 0.5, then the image.
``comodgan``: the generator of github.com/zsyzzsoft/co-mod-gan (``training/co_mod_gan.py``), whose mask is 1 where the
image is known, with a latent vector.
"""


def make_description(preset: str | None, values: dict[str, Any]) -> Description:
    """Return a preset with some values replaced; without a preset the defaults.

    Raises:
        ConfigError: An unknown field, or a value of another type or out of range.
    """
    known = [one.name for one in fields(Description)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError(f"a description has no {unknown[0]!r}: expected {', '.join(known)}.")
    for name in _CHOICES.keys() & values.keys():  # msgspec's message would not name the choices
        check_choice(name, values[name], _CHOICES[name], flag=f"--{name}")
    if values.get("hole") == KEEP:
        values = {**values, "hole": None}
    base = PRESETS[preset] if preset is not None else Description()
    try:
        return msgspec.convert({**asdict(base), **values}, Description)
    except msgspec.ValidationError as error:
        wrong, _, place = str(error).partition(" - at `$.")
        raise ConfigError(f"the description's {place.rstrip('`') or 'values'}: {wrong}.") from error


def read_description(path: Path) -> dict[str, Any]:
    """Read the fields of a description.

    Args:
        path: A TOML file, or the folder of a bundle that was imported with the description.

    Raises:
        ConfigError: Not such a file, or not such a bundle.
        BundleError: The bundle is damaged.
    """
    if path.is_dir():
        manifest = read_bundle(path).manifest
        if not manifest.is_imported:
            raise ConfigError(
                f"{printable(path)} was exported, not imported, so it has no description (--description)."
            )
        return dict(manifest.hyper_parameters)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{printable(path)} cannot be read as TOML ({reason}): expected lines such as "
            'image = "input" (--description).'
        ) from error
