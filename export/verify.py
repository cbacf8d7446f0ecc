"""Comparing an exported model with its source, in numbers that decide."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from wavepaint import metrics
from wavepaint.contract import IMAGE_CHANNELS, assets_folder
from wavepaint.errors import VerificationError
from wavepaint.runtime.session import Session

Image = NDArray[np.float32]
Case = tuple[str, Image, Image]
Reference = Callable[[Image, Image], Image]

VERIFICATION_PHOTOS = assets_folder() / "verification"

FLOAT32_MAX_ERROR = 1e-5
"""Largest absolute error allowed in float32, on values in [0, 1]: about a hundred roundings of float32 near 1, and a
four-hundredth of one of 255 levels."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an artifact may differ by.

    Attributes:
        max_error: Largest absolute error, on values in [0, 1]; None does not limit it.
        min_psnr_db: Smallest PSNR inside the hole against the source.
    """

    max_error: float | None
    min_psnr_db: float


FLOAT32_BUDGET = Budget(max_error=FLOAT32_MAX_ERROR, min_psnr_db=90.0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One case: what was run and how far the two are apart.

    ``psnr_hole_db`` is None where the outputs are equal; errors are None where the output is not finite.
    """

    case: str
    shape: list[int]
    max_error: float | None
    mean_error: float | None
    psnr_hole_db: float | None
    num_not_finite: int
    known_identical: bool
    passed: bool


def verification_cases(size_multiple: int, seed: int = 0) -> list[Case]:
    """Return (name, image (N, 3, H, W), mask (N, 1, H, W)) over sizes, batches and kinds of mask, float32.

    Sizes are the smallest that is allowed, non-square ones and 256 pixels; images are noise, gradients, black and
    white, and the two photographs that ship with the package.
    """
    rng = np.random.default_rng(seed)
    m = size_multiple
    cases: list[Case] = []
    for batch, height, width in ((1, m, m), (1, 4 * m, 7 * m), (2, 5 * m, 3 * m), (3, 2 * m, 2 * m)):
        image = rng.random((batch, IMAGE_CHANNELS, height, width), dtype=np.float32)
        mask = (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)
        cases.append((f"noise {batch}x{width}x{height}", image, mask))
    side = -(-256 // m) * m
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    gradient = np.stack(
        [np.broadcast_to(ramp, (side, side)), np.broadcast_to(ramp[:, None], (side, side)), np.outer(ramp, ramp)]
    )[None].astype(np.float32)
    box = np.zeros((1, 1, side, side), dtype=np.float32)
    box[..., side // 4 : side // 2, side // 3 : -side // 3] = 1
    cases.append((f"gradient, box hole {side}x{side}", gradient, box))
    cases.append((f"black, box hole {side}x{side}", np.zeros_like(gradient), box))
    cases.append((f"white, hole all but a corner {side}x{side}", np.ones_like(gradient), _all_but_corner(box)))
    cases.append((f"gradient, nothing to fill {side}x{side}", gradient, np.zeros_like(box)))
    cases.extend(_photo_cases(side))
    return cases


def _photo_cases(side: int) -> list[Case]:
    rows, columns = np.mgrid[:side, :side]
    strokes = ((rows + 2 * columns) % 97 < 12) & (rows > side // 8) & (columns < side - side // 8)
    mask = strokes.astype(np.float32)[None, None]
    cases: list[Case] = []
    for path in sorted(VERIFICATION_PHOTOS.glob("*.jpg")):
        with PIL.Image.open(path) as photo:
            pixels = np.asarray(photo.convert("RGB").resize((side, side)), np.float32) / np.float32(255)
        cases.append(
            (f"{path.stem}, strokes {side}x{side}", np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], mask)
        )
    return cases


def _all_but_corner(mask: Image) -> Image:
    full = np.ones_like(mask)
    full[..., :8, :8] = 0
    return full


def compare(case: str, image: Image, mask: Image, output: Image, expected: Image, budget: Budget) -> Comparison:
    """Compare an output with what the source gave, all (N, 3, H, W) float32."""
    hole = np.broadcast_to(mask > 0, output.shape)
    num_not_finite = int(output.size - np.isfinite(output).sum())
    known_identical = bool(np.array_equal(output[~hole], image[~hole]))
    if num_not_finite or output.shape != expected.shape:
        return Comparison(
            case=case,
            shape=list(image.shape),
            max_error=None,
            mean_error=None,
            psnr_hole_db=None,
            num_not_finite=num_not_finite,
            known_identical=known_identical,
            passed=False,
        )
    error = np.abs(output.astype(np.float64) - expected)
    psnr = metrics.psnr(output.transpose(0, 2, 3, 1), expected.transpose(0, 2, 3, 1), mask[:, 0])
    exact = not math.isfinite(psnr)
    return Comparison(
        case=case,
        shape=list(image.shape),
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        psnr_hole_db=None if exact else psnr,
        num_not_finite=0,
        known_identical=known_identical,
        passed=known_identical
        and (budget.max_error is None or bool(error.max() <= budget.max_error))
        and (exact or psnr >= budget.min_psnr_db),
    )


def verify_session(session: Session, reference: Reference, cases: Sequence[Case], budget: Budget) -> list[Comparison]:
    """Run every case through the session and the reference and compare."""
    return [
        compare(name, image, mask, session.run(image, mask), reference(image, mask), budget)
        for name, image, mask in cases
    ]


def make_report(comparisons: Sequence[Comparison], budget: Budget, reference: str, engine: str) -> dict[str, Any]:
    """Return the report as plain values for the manifest."""
    errors = [c.max_error for c in comparisons if c.max_error is not None]
    psnrs = [c.psnr_hole_db for c in comparisons if c.psnr_hole_db is not None]
    return {
        "passed": all(c.passed for c in comparisons),
        "reference": reference,
        "engine": engine,
        "budget": asdict(budget),
        "max_error": max(errors, default=None),
        "min_psnr_hole_db": min(psnrs, default=None),
        "cases": [asdict(c) for c in comparisons],
    }


def require_passed(report: dict[str, Any]) -> None:
    """Raise if a report has a case that failed.

    Raises:
        VerificationError: Naming the first such case and what was wrong with it.
    """
    for case in report["cases"]:
        if case["passed"]:
            continue
        if case["num_not_finite"]:
            reason = f"{case['num_not_finite']} values are NaN or infinite"
        elif not case["known_identical"]:
            reason = "pixels outside the hole were changed"
        else:
            limit = report["budget"]["max_error"]
            reason = (
                f"largest error {case['max_error']:.2e} (allowed {'any' if limit is None else f'{limit:.0e}'}), PSNR "
                f"inside the hole {case['psnr_hole_db']} dB (at least {report['budget']['min_psnr_db']:g})"
            )
        raise VerificationError(
            f"{report['engine']} differs from {report['reference']} in the case '{case['case']}': {reason}. "
            "Nothing was written."
        )
