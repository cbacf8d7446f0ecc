"""Scores of single fills: those of ``wp eval``, lines joined, and repetition."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from wavepaint.bench.classical import Pixels
from wavepaint.evaluation.fill_metrics import Scores, measure_fill
from wavepaint.evaluation.photo_cases import Case
from wavepaint.metrics.lines import measure_lines
from wavepaint.metrics.lpips import LPIPS
from wavepaint.metrics.repetition import measure_repetition


@dataclass(frozen=True, kw_only=True)
class FillScores(Scores):
    """Scores of one fill; repetition is a share of the hole."""

    num_lines: int
    num_lines_joined: int
    sum_lines_continued: float
    repetition: float


def score_fill(filled: Pixels, case: Case, lpips: LPIPS | None) -> FillScores:
    """Score a fill of a case."""
    lines = measure_lines(case.photo, filled, case.mask)
    return FillScores(
        photo=case.name,
        num_lines=lines.num_lines,
        num_lines_joined=lines.num_joined,
        sum_lines_continued=lines.sum_continued,
        repetition=measure_repetition(case.photo, filled, case.mask).share,
        **measure_fill(filled, case, lpips),
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
