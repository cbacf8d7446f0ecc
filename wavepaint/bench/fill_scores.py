"""Scores of single fills: PSNR, SSIM and L1 in the hole, LPIPS, lines joined, repetition."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from wavepaint.bench.classical import Pixels
from wavepaint.bench.quality_sets import Case
from wavepaint.metrics import image_quality
from wavepaint.metrics.lines import measure_lines
from wavepaint.metrics.lpips import LPIPS, average_and_add, upscale_and_add
from wavepaint.metrics.repetition import measure_repetition
from wavepaint.training.losses.objective import HOLE_MARGIN
from wavepaint.training.losses.reconstruction import dilate_mask


@dataclass(frozen=True, kw_only=True)
class FillScores:
    """Scores of one fill. LPIPS is None if it was not measured; repetition is a share of the hole."""

    photo: str
    psnr_hole_db: float
    ssim_hole: float
    l1_hole: float
    num_lines: int
    num_lines_joined: int
    sum_lines_continued: float
    repetition: float
    lpips_hole: float | None = None
    lpips_around: float | None = None
    lpips: float | None = None


def to_tensor(image: Pixels) -> Tensor:
    """Return (1, 3, H, W) float32 in [0, 1] of an image (H, W, 3) uint8."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def measure_lpips(lpips: LPIPS, filled: Pixels, photo: Pixels, mask: Pixels) -> tuple[float, float, float]:
    """Return LPIPS inside the hole, in the ring around it, and over the whole image."""
    hole = torch.from_numpy(mask)[None, None].float()
    ring = dilate_mask(hole, HOLE_MARGIN) - hole
    maps = lpips.compare(lpips.features(to_tensor(filled)), lpips.features(to_tensor(photo)))
    at_pixels = upscale_and_add(maps, (mask.shape[0], mask.shape[1]))
    inside, around = ((at_pixels * region).sum() / region.sum().clamp_min(1) for region in (hole, ring))
    return float(inside), float(around), float(average_and_add(maps))


def score_fill(filled: Pixels, case: Case, lpips: LPIPS | None) -> FillScores:
    """Score a fill of a case."""
    arrays = (filled / 255, case.photo / 255, case.mask)
    lines = measure_lines(case.photo, filled, case.mask)
    perceptual: Sequence[float | None] = (None, None, None)
    if lpips:
        perceptual = measure_lpips(lpips, filled, case.photo, case.mask)
    return FillScores(
        photo=case.name,
        psnr_hole_db=image_quality.psnr(*arrays),
        ssim_hole=image_quality.ssim(*arrays),
        l1_hole=image_quality.masked_l1(*arrays),
        num_lines=lines.num_lines,
        num_lines_joined=lines.num_joined,
        sum_lines_continued=lines.sum_continued,
        repetition=measure_repetition(case.photo, filled, case.mask).share,
        **dict(zip(("lpips_hole", "lpips_around", "lpips"), perceptual, strict=True)),
    )


def summarise(scores: Sequence[FillScores]) -> dict[str, float]:
    """Return the means over fills, and the shares of all their lines; what was not measured is absent."""
    rows = [asdict(one) for one in scores]
    names = [name for name, value in rows[0].items() if isinstance(value, float) and name != "sum_lines_continued"]
    summary = {name: float(np.mean([row[name] for row in rows])) for name in names}
    if number := sum(one.num_lines for one in scores):
        summary |= {
            "lines_joined": sum(one.num_lines_joined for one in scores) / number,
            "lines_continued": sum(one.sum_lines_continued for one in scores) / number,
        }
    return summary | {"num_photos": len(scores), "num_lines": number}


def count_wins(own: Sequence[FillScores], other: Sequence[FillScores]) -> float | None:
    """Return the share of fills with a lower LPIPS in the hole than another method's; None without LPIPS.

    The other method may have filled only the first ones.
    """
    pairs = [
        (a.lpips_hole, b.lpips_hole)
        for a, b in zip(own, other, strict=False)
        if a.lpips_hole is not None and b.lpips_hole is not None
    ]
    return sum(a < b for a, b in pairs) / len(pairs) if pairs else None
