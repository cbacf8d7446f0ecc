"""Scores of single fills: L1, L2, PSNR, SSIM and LPIPS, in the hole and over the whole image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from wavepaint.data.validation_set import Pixels
from wavepaint.evaluation.photo_cases import Case
from wavepaint.metrics import image_quality

if TYPE_CHECKING:
    from wavepaint.metrics.lpips import LPIPS

MAX_PSNR_DB = 100.0
"""Limit of one fill's PSNR, so that a perfect one does not make the mean infinite."""


class Metric(NamedTuple):
    """How a score is shown, and whether a higher one is better."""

    title: str
    form: str
    higher_is_better: bool = False


METRICS = {
    "psnr_hole_db": Metric("PSNR in the hole, dB", ".2f", True),
    "ssim_hole": Metric("SSIM in the hole", ".4f", True),
    "l1_hole": Metric("L1 in the hole", ".4f"),
    "l2_hole": Metric("L2 in the hole", ".5f"),
    "lpips_hole": Metric("LPIPS in the hole", ".4f"),
    "lpips_around": Metric("LPIPS around the hole", ".4f"),
    "psnr_db": Metric("PSNR, dB", ".2f", True),
    "ssim": Metric("SSIM", ".4f", True),
    "l1": Metric("L1", ".5f"),
    "l2": Metric("L2", ".6f"),
    "lpips": Metric("LPIPS", ".4f"),
}
"""By the names of the fields of :class:`Scores`."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one fill for values in [0, 1]. Without a perceptual network, LPIPS is None.

    Attributes:
        photo: Name of the photo.
        psnr_hole_db: PSNR in dB for a peak of 1, inside the hole, at most 100; ``psnr_db`` is that of the whole image,
            and so on.
        lpips_around: LPIPS in the 16 pixels around the hole, where seams show.
    """

    photo: str
    l1_hole: float
    l2_hole: float
    psnr_hole_db: float
    ssim_hole: float
    l1: float
    l2: float
    psnr_db: float
    ssim: float
    lpips_hole: float | None = None
    lpips_around: float | None = None
    lpips: float | None = None


def measure_fill(filled: Pixels, case: Case, lpips: "LPIPS | None") -> dict[str, Any]:
    """Return the scores of a fill by the names of the fields of :class:`Scores`, without the photo's name."""
    a, b, hole = filled / 255, case.photo / 255, case.mask
    similarity = image_quality.ssim_map(a, b)
    scores: dict[str, Any] = {
        "ssim": float(similarity.mean()),
        "ssim_hole": float(similarity[hole > 0].mean()),
    }
    for suffix, mask in (("", None), ("_hole", hole)):
        scores["l1" + suffix] = image_quality.masked_l1(a, b, mask)
        scores["l2" + suffix] = image_quality.masked_l2(a, b, mask)
        scores[f"psnr{suffix}_db"] = min(image_quality.psnr(a, b, mask), MAX_PSNR_DB)
    if lpips is not None:
        from wavepaint.evaluation.perceptual import measure_lpips

        inside, around, whole = measure_lpips(lpips, filled, case.photo, case.mask)
        scores |= {"lpips_hole": inside, "lpips_around": around, "lpips": whole}
    return scores
