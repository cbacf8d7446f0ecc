"""Operators refuse arguments that they would compute wrongly, and name what they expect."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wavepaint.errors import ConfigError, ImageError
from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d
from wavepaint.ops.dwt import DWT2d, dwt2d, idwt2d
from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.shifted_details import shift_details

IMAGE, MASK = torch.rand(2, 3, 8, 12), torch.ones(2, 1, 8, 12)
WHOLE = torch.ones(2, 3, 8, 12, dtype=torch.int64)
LOW, DETAILS = dwt2d(IMAGE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DWT2d(3, border="symmetric"), "border is 'symmetric': expected 'zero' or 'cropped'"),  # type: ignore[arg-type]
        (lambda: DWT2d(0), "channels is 0: expected 1 or more"),
        (lambda: DWT2d(3, "harr"), "unknown wavelet 'harr'"),
        (lambda: DWT2d(3, None), "unknown wavelet None"),  # type: ignore[arg-type]
        (lambda: dwt2d(IMAGE, "harr"), "unknown wavelet 'harr'"),
        (lambda: dwt2d(IMAGE, levels=0), "levels is 0: expected 1 or more"),
        (lambda: dwt2d(IMAGE, levels=1.5), "levels is 1.5: expected 1 or more"),  # type: ignore[arg-type]
        (lambda: fill_levels(IMAGE, MASK, -1), "num_levels is -1: expected 0 or more"),
        (lambda: shift_details(IMAGE, IMAGE, MASK, 3), "scale is 3: expected a power of 2"),
    ],
)
def test_invalid_settings_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: DWT2d(3, border="cropped")(IMAGE[:, :, 1:]), "height 7 and width 12: .* must be even"),
        (lambda: DWT2d(3, border="cropped").pad(IMAGE[..., 1:]), "height 8 and width 11"),
        (lambda: DWT2d(3, border="cropped").low_band(IMAGE[..., 1:]), "height 8 and width 11"),
        (lambda: DWT2d(3)(WHOLE), r"\(2, 3, 8, 12\) int64: expected \(N, C, H, W\) of a floating dtype"),
        (lambda: dwt2d(WHOLE), "int64: expected"),
        (lambda: dwt2d(IMAGE[0]), r"\(3, 8, 12\) float32: expected"),
        (lambda: idwt2d(LOW, [DETAILS[0][..., :3]]), r"expected \(2, 3, 3, 4, 6\)"),
        (lambda: idwt2d(LOW.long(), DETAILS), "int64: expected"),
        (lambda: idwt2d(LOW, DETAILS, size=(8, 10)), r"size is \(8, 10\): expected \(8, 12\)"),
        (lambda: fill_levels(IMAGE, MASK[:1], 2), r"the mask is \(1, 1, 8, 12\): expected \(2, 1, 8, 12\)"),
        (lambda: fill_levels(IMAGE, MASK.bool(), 2), "bool: expected"),
        (lambda: shift_details(IMAGE, IMAGE, MASK, 2), "with sides 2 times smaller, rounded up"),
        (lambda: RealDFT2d()(WHOLE), "int64: expected"),
        (lambda: InverseRealDFT2d()(torch.rand(1, 3, 4, 3), IMAGE), "3 channels and 3 columns: expected pairs"),
        (
            lambda: InverseRealDFT2d()(torch.rand(1, 2, 4, 3), IMAGE),
            "3 columns: expected .* 7 columns for a width of 12",
        ),
    ],
)
def test_tensors_of_a_wrong_shape_or_dtype_are_refused(run: Callable[[], Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        run()
