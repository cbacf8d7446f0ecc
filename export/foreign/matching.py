"""Does a description fit a file? If not: what is wrong, and which description would fit."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavepaint.contract import IMAGE_CHANNELS, SizeLimits
from wavepaint.errors import ForeignModelError, printable
from wavepaint.export.foreign.description import (
    MAX_BATCH,
    MAX_SIDE,
    NOISE,
    PRESETS,
    Description,
    make_description,
    read_input,
)
from wavepaint.export.foreign.inspection import ForeignModel, Tensor

_IMAGE_TYPES = ("float32", "float16", "uint8")
_MASK_TYPES = (*_IMAGE_TYPES, "bool", "int32", "int64")
_JOINT_CHANNELS = IMAGE_CHANNELS + 1


@dataclass(frozen=True)
class Binding:
    """A description that fits a file, with what the file adds to it.

    Attributes:
        description: The description.
        image: The input for the image.
        mask: The input for the mask; that of the image if they share one.
        result: The output.
        constants: Values of the further inputs, for one image.
        batched: Names of those whose first axis varies: that of the batch.
        limits: Smallest and largest size that the network takes.
    """

    description: Description
    image: Tensor
    mask: Tensor
    result: Tensor
    constants: dict[str, NDArray[np.generic]]
    batched: frozenset[str]
    limits: SizeLimits

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this; 1 if they are fixed."""
        least, most = self.limits
        return 1 if least[1:] == most[1:] else self.description.multiple


def bind(foreign: ForeignModel, description: Description) -> Binding:
    """Return the description with the file's tensors.

    Raises:
        ForeignModelError: The description does not fit. The message says what was found and what would fit.
    """
    if problem := find_problem(foreign, description):
        raise ForeignModelError(f"{foreign.describe()}: {problem}. {suggest(foreign)}")
    inputs = {tensor.name: tensor for tensor in foreign.inputs}
    image = inputs[description.image]
    return Binding(
        description,
        image,
        inputs[description.mask],
        next(tensor for tensor in foreign.outputs if tensor.name == description.result),
        {name: _fill_input(inputs[name], value) for name, value in description.inputs.items()},
        frozenset(name for name in description.inputs if isinstance(next(iter(inputs[name].shape or (1,)), 1), str)),
        _find_limits(image, description),
    )


def find_problem(foreign: ForeignModel, description: Description) -> str:
    """Return why a description does not fit a file, without a full stop; empty if it fits."""
    inputs = {tensor.name: tensor for tensor in foreign.inputs}
    outputs = {tensor.name: tensor for tensor in foreign.outputs}
    for kind, name, found, option in (
        ("input", description.image, inputs, "--image"),
        ("input", description.mask, inputs, "--mask"),
        ("output", description.result, outputs, "--result"),
        *(("input", name, inputs, "--input") for name in description.inputs),
    ):
        if name not in found:
            return f"it has no {kind} {printable(repr(name))} ({option})"
    described = {description.image, description.mask, *description.inputs}
    if left := [name for name in inputs if name not in described]:
        return f"nothing says what the input {printable(repr(left[0]))} gets (--input)"
    image, mask, result = inputs[description.image], inputs[description.mask], outputs[description.result]
    problems = [
        *_check_image(image, description, IMAGE_CHANNELS + description.is_joint),
        *([] if description.is_joint else _check_layout(mask, description, 1)),
        *([] if result.shape is None else _check_layout(result, description, IMAGE_CHANNELS)),
        *([] if mask.dtype in _MASK_TYPES else [f"a mask of type {mask.dtype} is not supported"]),
        *([] if result.dtype in _IMAGE_TYPES else [f"a result of type {result.dtype} is not supported"]),
        *_check_sizes(image, mask, description),
        *(problem for name in description.inputs for problem in _check_input(inputs[name])),
    ]
    return next(iter(problems), "")


def _check_image(image: Tensor, description: Description, channels: int) -> Iterator[str]:
    yield from _check_layout(image, description, channels)
    if image.dtype not in _IMAGE_TYPES:
        yield f"an image of type {image.dtype} is not supported"
    if image.dtype == "uint8" and description.image_range != (0, 255):
        low, high = description.image_range
        yield f"its image has bytes, and the description says {low:g} to {high:g} (--image-range 0,255)"


def _check_layout(tensor: Tensor, description: Description, channels: int) -> Iterator[str]:
    """Yield why a tensor cannot have the described layout and a number of channels."""
    name = printable(repr(tensor.name))
    if tensor.shape is None or len(tensor.shape) != 4:
        yield f"{name} does not have four axes"
    elif isinstance(found := tensor.shape[1 if description.layout == "NCHW" else 3], int) and found != channels:
        yield f"{name} has {found} channels in the layout {description.layout}, expected {channels} (--layout)"


def _find_sides(tensor: Tensor, layout: str) -> tuple[int | str, ...]:
    """Return batch, height and width."""
    shape = tensor.shape or ("?", "?", "?", "?")
    return (shape[0], shape[2], shape[3]) if layout == "NCHW" else (shape[0], shape[1], shape[2])


def _check_sizes(image: Tensor, mask: Tensor, description: Description) -> Iterator[str]:
    if not all(tensor.shape is not None and len(tensor.shape) == 4 for tensor in (image, mask)):
        return
    sides = [_find_sides(tensor, description.layout) for tensor in (image, mask)]
    for axis, one, other in zip(("batch", "height", "width"), *sides, strict=True):
        if isinstance(one, int) and isinstance(other, int) and one != other:
            yield f"image and mask differ in their {axis} ({one} and {other})"
        if one == 0:
            yield f"its {axis} is 0"
    described = (None, description.height, description.width)
    for axis, side, wanted in zip(("batch", "height", "width"), sides[0], described, strict=True):
        if isinstance(side, int) and wanted not in (None, side):
            yield f"its {axis} is fixed at {side}, and the description says {wanted} (--size)"
        fixed = side if isinstance(side, int) else wanted
        if axis != "batch" and fixed is not None and fixed % description.multiple:
            yield f"its {axis} is {fixed}, no multiple of {description.multiple} (--multiple)"
        if axis != "batch" and fixed is not None and fixed > MAX_SIDE:
            yield f"its {axis} is {fixed}: expected {MAX_SIDE} at most"
    if description.max_batch is not None and isinstance(sides[0][0], int) and sides[0][0] > description.max_batch:
        yield f"its batch is fixed at {sides[0][0]}, and the description allows {description.max_batch} (--max-batch)"


def _check_input(tensor: Tensor) -> Iterator[str]:
    name = printable(repr(tensor.name))
    if tensor.shape is None or not all(isinstance(side, int) for side in tensor.shape[1:]):
        yield f"the shape of the input {name} varies, so it cannot be constant. Export it with a fixed size"
    elif tensor.dtype not in (*_MASK_TYPES, "float64"):
        yield f"an input of type {tensor.dtype} ({name}) is not supported"


def _fill_input(tensor: Tensor, value: float | str) -> NDArray[np.generic]:
    """Return the constant value of a further input."""
    shape = tuple(side if isinstance(side, int) else 1 for side in tensor.shape or ())
    found = read_input(tensor.name, value)
    if isinstance(value, str):
        return np.random.default_rng(int(found)).standard_normal(shape).astype(tensor.dtype)
    return np.full(shape, found).astype(tensor.dtype)


def _find_limits(image: Tensor, description: Description) -> SizeLimits:
    batch, height, width = _find_sides(image, description.layout)
    multiple, largest = description.multiple, description.max_batch or MAX_BATCH
    least, most = -(-description.min_side // multiple) * multiple, MAX_SIDE // multiple * multiple
    batches = (batch, batch) if isinstance(batch, int) else (1, largest)
    rows, columns = (
        (side, side) if isinstance(side, int) else (wanted, wanted) if wanted is not None else (least, most)
        for side, wanted in ((height, description.height), (width, description.width))
    )
    return (batches[0], rows[0], columns[0]), (batches[1], rows[1], columns[1])


def suggest(foreign: ForeignModel) -> str:
    """Return the options with which a file could be imported, in a sentence."""
    fitting = [options for preset in PRESETS if (options := fit_preset(foreign, preset)) is not None]
    if not fitting:
        return "No preset fits; describe it with options or a file (wp import --help)."
    return f"What would fit: {' or '.join(map(shlex.join, fitting))}."


def fit_preset(foreign: ForeignModel, preset: str) -> list[str] | None:
    """Return the options that make a preset fit a file, if other names of tensors are enough; else None."""
    description = PRESETS[preset]
    images = _find_candidates(foreign.inputs, _JOINT_CHANNELS if description.is_joint else IMAGE_CHANNELS)
    masks = images if description.is_joint else _find_candidates(foreign.inputs, 1)
    results = _find_candidates(foreign.outputs, IMAGE_CHANNELS) or [one.name for one in foreign.outputs][:1]
    if not (images and masks and results):
        return None
    chosen = {
        name: getattr(description, name) if getattr(description, name) in found else found[0]
        for name, found in (("image", images), ("mask", masks), ("result", results))
    }
    left = [one.name for one in foreign.inputs if one.name not in (chosen["image"], chosen["mask"])]
    inputs = dict.fromkeys(left, NOISE) if description.inputs else {}
    fitted = make_description(preset, {**chosen, "inputs": inputs})
    has_bytes = next(one for one in foreign.inputs if one.name == chosen["image"]).dtype == "uint8"
    if bool(left) != bool(description.inputs) or has_bytes != (description.image_range == (0, 255)):
        return None
    if find_problem(foreign, fitted):
        return None
    options = ["--preset", preset]
    for name, value in chosen.items():
        if value != getattr(description, name):
            options += [f"--{name}", value]
    if inputs.keys() != description.inputs.keys():
        options += [word for name in inputs for word in ("--input", f"{name}={NOISE}")]
    return options


def _find_candidates(tensors: Sequence[Tensor], channels: int) -> list[str]:
    """Return the names of the tensors that could have a number of channels, in the layout NCHW."""
    return [one.name for one in tensors if one.shape is not None and len(one.shape) == 4 and one.shape[1] == channels]
