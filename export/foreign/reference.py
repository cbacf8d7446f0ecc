"""Run an untouched file in ONNX Runtime with its description applied in numpy: the reference of an imported bundle.

:func:`check_result` runs it once, and finds a description with wrong ranges or an inverted mask.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from wavepaint.contract import INPAINTING
from wavepaint.errors import EngineError, ForeignModelError, printable
from wavepaint.export.cases import Image
from wavepaint.export.foreign.description import Description, Range
from wavepaint.export.foreign.inspection import ForeignModel
from wavepaint.export.foreign.matching import Binding
from wavepaint.export.verify import IMPORTED_SOURCE, Suite, list_cases, make_suite
from wavepaint.runtime.engines.session import first_line

Run = Callable[[Image, Image], Image]

COMMON_RANGES: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))

_TOLERANCE = 0.03
"""Difference from the known pixels, eight levels, that a network may show that puts them back itself: it may blend
them with its fill beside the hole, or round them."""

_MARGIN = 0.1
"""Share of its range by which a prediction may exceed the range."""

_MIN_SHARE = 0.02
"""Least share of its range that a prediction uses: a result in [0, 1] would use 0.4 % of 0 to 255."""

_MAX_OUTSIDE = 0.05
"""Largest share of values outside of the range. Networks without a clamp exceed it in places."""


class Reference:
    """An untouched file in ONNX Runtime on the CPU.

    Args:
        foreign: The file.
        binding: Its description.

    Raises:
        EngineError: ONNX Runtime cannot load the file.
    """

    def __init__(self, foreign: ForeignModel, binding: Binding) -> None:
        self._binding = binding
        self.name = f"{IMPORTED_SOURCE} {foreign.path.name} in ONNX Runtime {ort.__version__} float32"
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(foreign.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise EngineError(
                f"ONNX Runtime {ort.__version__} cannot load {printable(foreign.path)}: {first_line(error)}"
            ) from error

    def run(self, image_NCHW: Image, mask_N1HW: Image) -> Image:
        """Fill the hole: (N, 3, H, W) in [0, 1] and (N, 1, H, W), 1 = hole -> (N, 3, H, W), known pixels put back.

        Raises:
            EngineError: As :meth:`predict`.
        """
        filled = np.clip(self.predict(image_NCHW, mask_N1HW), np.float32(0), np.float32(1))
        return np.where(mask_N1HW > 0.5, filled, image_NCHW)

    def predict(self, image_NCHW: Image, mask_N1HW: Image) -> Image:
        """Return the file's own result as (N, 3, H, W), black 0 and white 1, neither clamped nor composed.

        Raises:
            EngineError: ONNX Runtime fails, or the result has another size.
        """
        description = self._binding.description
        inputs = _make_inputs(self._binding, image_NCHW, mask_N1HW)
        try:
            (result,) = self._session.run([description.result], inputs)
        except Exception as error:
            raise EngineError(f"the file failed on a batch of shape {image_NCHW.shape}: {first_line(error)}") from error
        values = np.asarray(result, np.float32)
        if description.layout == "NHWC" and values.ndim == 4:
            values = values.transpose(0, 3, 1, 2)
        if values.shape != image_NCHW.shape:
            raise EngineError(f"the file's result has shape {values.shape} for an image of {image_NCHW.shape}.")
        low, high = description.result_range
        values = values[:, ::-1] if description.colour == "BGR" else values
        return (values - np.float32(low)) / np.float32(high - low)

    def make_suite(self) -> Suite:
        """Run the verification cases."""
        binding = self._binding
        return make_suite(binding.multiple, self.run, self.name, limits=binding.limits)


def _make_inputs(binding: Binding, image_NCHW: Image, mask_N1HW: Image) -> dict[str, NDArray[np.generic]]:
    description = binding.description
    low, high = map(np.float32, description.image_range)
    hole = mask_N1HW > 0.5
    image = image_NCHW * (high - low) + low
    if description.hole is not None:
        image = np.where(hole, np.float32(description.hole), image)
    image = image[:, ::-1] if description.colour == "BGR" else image
    known, marked = map(np.float32, description.mask_values)
    mask = np.where(hole, marked, known)
    tensors = {description.image: image, description.mask: mask}
    if description.is_joint:
        both = (mask, image) if description.mask_first else (image, mask)
        tensors = {description.image: np.concatenate(both, axis=1)}
    inputs: dict[str, NDArray[np.generic]] = {}
    for name, value in tensors.items():
        value = value.transpose(0, 2, 3, 1) if description.layout == "NHWC" else value
        tensor = binding.mask if name == description.mask and not description.is_joint else binding.image
        value = np.round(value) if tensor.dtype == "uint8" else value
        inputs[name] = np.ascontiguousarray(value.astype(tensor.dtype))
    for name, value in binding.constants.items():
        inputs[name] = np.repeat(value, len(image), axis=0) if name in binding.batched else value
    return inputs


def check_result(reference: Reference, binding: Binding) -> None:
    """Run one image, and refuse a result that contradicts the description.

    Known pixels are compared in a gradient, whose pixels differ everywhere. A prediction is judged in a photo.

    Raises:
        ForeignModelError: The result has another range, or known pixels and hole are swapped. The message names the
            option that would fit.
        EngineError: The file fails to run.
    """
    description = binding.description
    is_composed = description.composition == "inside"
    cases = list_cases(INPAINTING, binding.multiple, binding.limits)
    _, *inputs = next(case for case in cases if case[0].startswith("gradient, box")) if is_composed else cases[-1]
    image, mask = inputs
    result = reference.predict(image, mask)
    if not np.isfinite(result).all():
        raise ForeignModelError("the file's result contains NaN or infinite values.")
    hole = np.broadcast_to(mask > 0.5, image.shape)
    low, high = description.result_range
    raw = result * (high - low) + low
    check = _find_composed_problem if is_composed else _find_predicted_problem
    if problem := check(raw, image, hole, description):
        raise ForeignModelError(f"the file's result does not fit its description: {problem}.")


def _find_composed_problem(raw: Image, image: Image, hole: NDArray[np.bool_], description: Description) -> str:
    """Return why a result that should contain the known pixels does not; empty if it does."""

    def differs(where: NDArray[np.bool_], black: float, white: float) -> float:
        return float(np.median(np.abs((raw[where] - black) / (white - black) - image[where])))

    described = description.result_range
    if differs(~hole, *described) <= _TOLERANCE:
        return ""
    found = f"the known pixels differ from the photo by {differs(~hole, *described):.2g} of the range"
    for low, high in COMMON_RANGES:
        if differs(~hole, low, high) <= _TOLERANCE:
            return f"{found}; they agree with --result-range {low:g},{high:g}"
    for low, high in (described, *COMMON_RANGES):
        other = "" if (low, high) == described else f" --result-range {low:g},{high:g}"
        if differs(hole, low, high) <= _TOLERANCE:
            known, marked = description.mask_values
            return f"{found}, and the hole does not. The mask is inverted: --mask-values {marked:g},{known:g}{other}"
    return f"{found}. A network that returns a prediction of the whole image needs --composition outside"


def _find_predicted_problem(raw: Image, image: Image, hole: NDArray[np.bool_], description: Description) -> str:
    """Return why a prediction cannot have the described range; empty if it can."""
    low, high = description.result_range
    least, most = (float(value) for value in np.percentile(raw[hole], (1, 99)))
    margin = _MARGIN * (high - low)
    outside = float(np.mean((raw[hole] < low - margin) | (raw[hole] > high + margin)))
    found = f"its values are {least:.3g} to {most:.3g}, and the description says {low:g} to {high:g}"
    fits = [
        (black, white)
        for black, white in COMMON_RANGES
        if black - _MARGIN * (white - black) <= least and most <= white + _MARGIN * (white - black)
    ]
    is_tiny = (most - least) < _MIN_SHARE * (high - low) and any(white < high for _, white in fits)
    if outside <= _MAX_OUTSIDE and not is_tiny:
        return ""
    advice = f"; --result-range {fits[0][0]:g},{fits[0][1]:g} would fit" if fits else ""
    return f"{found}{advice}"
